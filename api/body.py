"""Request bodies: read within bounds, decoded as Ollama's server decodes them, checked into a pydantic model.

Field names match in any case, unknown ones are ignored, null is as good as absent, types are not converted, and the
Content-Type is never looked at (spec a.1). Errors speak as Go's decoder does, since clients show them.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, ClassVar, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json

from corral.api.errors import RequestRefused

MAX_BYTES = 64 * 2**20
MAX_VALUES = 2_000_000
READ_TIMEOUT_S = 120.0

_SMALL = 2**20
_AT = re.compile(r" at line (\d+) column (\d+)\Z")


class WireModel(BaseModel):
    """A JSON object as Ollama reads it. Subclasses name the Go type they stand for, for the error texts."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)
    go_name: ClassVar[str] = "Request"

    @model_validator(mode="before")
    @classmethod
    def _match_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        wire_names = {(field.alias or name).lower(): field.alias or name for name, field in cls.model_fields.items()}
        matched: dict[str, Any] = {}
        for key, value in data.items():
            name = wire_names.get(key.lower()) if isinstance(key, str) else None
            if name is not None and value is not None:
                matched[name] = value
        return matched


M = TypeVar("M", bound=WireModel)


async def read_json(request: web.Request, model: type[M], *, missing: str = "missing request body") -> M:
    """Read the request's body as one of ours; `missing` is said where there is none.

    Raises:
        RequestRefused: 400 for what is no such object, 408 for one that doesn't arrive, 413 for one too large.
    """
    body = await _read(request)
    if not body.strip():
        raise RequestRefused(missing)
    if len(body) > _SMALL and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        # Decoding holds up every other request: 64 MiB of "[]," would do so for seconds.
        raise RequestRefused("request body has too many values", 413)
    try:
        # Its nesting limit is 200, so no stack is at risk.
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestRefused(_syntax_message(str(error), body)) from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RequestRefused(_type_message(error.errors(include_url=False, include_context=False)[0], model)) from None


async def _read(request: web.Request) -> bytes:
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise RequestRefused("request body too large", 413)
    received = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for piece in request.content.iter_any():
                received += piece
                if len(received) > MAX_BYTES:
                    raise RequestRefused("request body too large", 413)
    except TimeoutError:
        raise RequestRefused("request body did not arrive in time", 408) from None
    except web.RequestPayloadError:
        raise RequestRefused("unexpected EOF") from None
    return bytes(received)


def _syntax_message(text: str, body: bytes) -> str:
    """Say in the words of Go's decoder what is wrong with a JSON text."""
    if "EOF" in text:
        return "unexpected EOF"
    if "recursion limit" in text:
        return "exceeded max depth"
    if "number out of range" in text:
        return "json: cannot unmarshal number: value out of range"
    place = _AT.search(text)
    char = _char_at(body, int(place.group(1)), int(place.group(2))) if place else "?"
    for sign, where in (
        ("trailing characters", "after top-level value"),
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of value"),
        ("expected `:`", "after object key"),
        ("expected `,` or `]`", "after array element"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("control character", "in string literal"),
        ("escape", "in string escape code"),
        ("expected value", "looking for beginning of value"),
    ):
        if sign in text:
            return f"invalid character {char} {where}"
    return f"invalid character {char} in literal"


def _char_at(body: bytes, line: int, column: int) -> str:
    lines = body.split(b"\n", line)
    at = lines[line - 1][column - 1 : column] if line <= len(lines) else b""
    char = at.decode("ascii", "replace") or " "
    return repr(char) if char.isprintable() and char != "\ufffd" else f"'\\x{(at or b' ')[0]:02x}'"


_GO_TYPES = {
    "bool_type": "bool",
    "string_type": "string",
    "int_type": "int",
    "int_from_float": "int",
    "float_type": "float64",
    "list_type": "[]interface {}",
    "tuple_type": "[]interface {}",
    "dict_type": "map[string]interface {}",
    "model_type": "struct",
    "model_attributes_type": "struct",
}
_JSON_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}


def _type_message(error: ErrorDetails, model: type[WireModel]) -> str:
    kind = _JSON_KINDS.get(type(error["input"]), "value")
    wanted = _GO_TYPES.get(error["type"])
    path = ".".join(str(part) for part in error["loc"] if isinstance(part, str))
    if wanted is None:
        return f"invalid value for {path}: {error['msg'].removeprefix('Value error, ')}"
    if not path:
        return f"json: cannot unmarshal {kind} into Go value of type api.{model.go_name}"
    return f"json: cannot unmarshal {kind} into Go struct field {model.go_name}.{path} of type {wanted}"
