"""Image files as they come from strangers, to pixels: what a header says is judged before anything is decoded."""

from __future__ import annotations

import io
import warnings
from typing import Final, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

MOST_IMAGES: Final = 20
MOST_PIXELS: Final = 50_000_000
LONGEST_SIDE: Final = 4096
"""Larger images are made smaller first; no projector looks at more."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_SMALLEST_SIDE: Final = 2
_MOST_STRETCHED: Final = 200
"""How many times as long as wide an image may be (Qwen2-VL's own bound): some projectors pad images to a square."""


class Pixels(NamedTuple):
    """An image: rows of red, green and blue bytes."""

    width: int
    height: int
    data: bytes


def read_picture(data: bytes, number: int, *, most_pixels: int = MOST_PIXELS) -> Pixels:
    """Decode an image file, turned as its camera was held, on white, an animation's first picture.

    `number` says which of a request's images it is, `most_pixels` how large it may be. Raises ValueError, with words of
    our own: a library's may name places in memory.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return _read(data, most_pixels)
    except _Refused as refused:
        raise ValueError(f"image {number} {refused}") from None
    except Exception:  # whatever a library says of a stranger's bytes
        raise ValueError(f"image {number} is damaged and cannot be decoded") from None


class _Refused(Exception):
    """An image that is not decoded; `str(error)` says why, without its subject."""


def _read(data: bytes, most_pixels: int) -> Pixels:
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise _Refused("is no PNG, JPEG, WebP, GIF or BMP file") from None
    except Image.DecompressionBombError:
        raise _Refused(f"has more than {MOST_PIXELS // 1_000_000} million pixels") from None
    width, height = image.size
    if width * height > most_pixels:
        raise _Refused(f"has more than {most_pixels // 1_000_000} million pixels")
    if min(width, height) < _SMALLEST_SIDE or max(width, height) > _MOST_STRETCHED * min(width, height):
        raise _Refused(f"is {width} x {height} pixels: too small, or too narrow to be looked at")
    if max(width, height) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")  # 16 bits; to convert alone would clip them
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    image = image.convert("RGB")
    return Pixels(image.width, image.height, image.tobytes())
