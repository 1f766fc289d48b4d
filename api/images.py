"""Images in requests: base64 as Ollama's clients send it, data URLs as OpenAI's do. Nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, SkipValidation

from corral.api.errors import RequestRefused

_KINDS: Final = ("image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif", "image/bmp", "")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")


def _decode(value: Any) -> bytes:
    """Return an image's bytes; what browsers put before base64 may be there. Raises RequestRefused in Go's words."""
    if not isinstance(value, str):
        raise RequestRefused("json: cannot unmarshal value into Go struct field .images of type api.ImageData")
    head, comma, rest = value.partition(",")
    text = rest if comma and head.startswith("data:") else value
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error:
        wrong = _NOT_BASE64.search(text)
        raise RequestRefused(f"illegal base64 data at input byte {wrong.start() if wrong else len(text)}") from None


Image = Annotated[SkipValidation[bytes], BeforeValidator(_decode)]
"""A field with an image in base64."""


def image_of_url(value: object) -> bytes:
    """Return the image of an OpenAI `image_url` part (spec b.2). Raises RequestRefused.

    Other URLs than `data:` are refused: to fetch one would let a request reach what only this machine can.
    """
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str):
        raise RequestRefused("invalid message format")
    head, comma, text = url.partition(",")
    if not head.lower().startswith("data:"):
        raise RequestRefused("image URLs are not currently supported, please use base64 encoded data instead")
    kind = head[len("data:") :].removesuffix(";base64")
    if not comma or not head.endswith(";base64") or kind not in _KINDS:
        raise RequestRefused("invalid image input")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise RequestRefused("invalid image input") from None
