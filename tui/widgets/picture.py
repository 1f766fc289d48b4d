"""An image as characters: a half block has two pixels, one of its own colour and one of its background's.

Every terminal with colours can show that, through tmux too, and it scrolls as text does. The graphics of Kitty or Sixel
would have to be asked for, and be taken away and sent again with every row that scrolls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import lru_cache

from textual.color import Color
from textual.content import Content, Span
from textual.style import Style

from corral.tui.terminal import is_remote
from corral.tui.theme import is_monochrome

__all__ = ["PictureSize", "draw_picture", "half_blocks", "picture_sizes"]

HALF_BLOCK = "▀"
_MOST_PIXELS = 25_000_000
"""More than cameras take by default; such an image is 75 MB while it is made smaller."""
_STEP = 8  # of 256 a channel: neighbours that look alike are sent as one
_WITHOUT_COLOURS = {"linux", "dumb", "vt100", "vt220", "ansi"}


class PictureSize(Enum):
    """Columns and rows that an image takes at most."""

    NONE = (0, 0)
    SMALL = (36, 9)
    LARGE = (96, 24)


def picture_sizes(environ: Mapping[str, str], wish: bool | None) -> tuple[PictureSize, PictureSize]:
    """How large images are drawn with folds closed, and open. A `wish` outweighs a slow link, which has them on asking.

    Without colours there is nothing to be seen of them.
    """
    if wish is False or is_monochrome(environ) or environ.get("TERM", "") in _WITHOUT_COLOURS:
        return PictureSize.NONE, PictureSize.NONE
    shows = not is_remote(environ) if wish is None else wish
    return PictureSize.SMALL if shows else PictureSize.NONE, PictureSize.LARGE


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "pictures")  # one at a time: a large image takes memory while it is made smaller


async def draw_picture(data: bytes, size: PictureSize) -> Content | None:
    """Draw an image file off the loop; None where it is damaged, too large, or no format that is known."""
    columns, rows = size.value
    with contextlib.suppress(ValueError):
        return await asyncio.get_running_loop().run_in_executor(_thread(), half_blocks, data, columns, rows)
    return None


def half_blocks(data: bytes, columns: int, rows: int) -> Content:
    """Draw an image file within so many columns and rows.

    Raises:
        ValueError: it cannot be decoded, or has more pixels than are drawn.
    """
    from PIL import Image  # the first frame need not wait for it

    from corral.runtime.engine.pictures import read_picture

    pixels = read_picture(data, 1, most_pixels=_MOST_PIXELS)
    share = min(columns / pixels.width, rows * 2 / pixels.height, 1.0)
    wide, high = max(round(pixels.width * share), 1), max(round(pixels.height * share / 2), 1) * 2
    small = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data).resize((wide, high))
    found = [_coarse(*small.getpixel((x, y))) for y in range(high) for x in range(wide)]  # type: ignore[misc]
    spans, at = [], 0
    for row in range(0, high, 2):
        upper, lower = found[row * wide : (row + 1) * wide], found[(row + 1) * wide : (row + 2) * wide]
        begin = 0
        for x in range(1, wide + 1):
            if x == wide or (upper[x], lower[x]) != (upper[begin], lower[begin]):
                style = Style(foreground=Color(*upper[begin]), background=Color(*lower[begin]))
                spans.append(Span(at + begin, at + x, style))
                begin = x
        at += wide + 1
    return Content("\n".join([HALF_BLOCK * wide] * (high // 2)), spans=spans)


def _coarse(red: int, green: int, blue: int) -> tuple[int, int, int]:
    return red // _STEP * _STEP, green // _STEP * _STEP, blue // _STEP * _STEP
