"""Request bodies: read within bounds, decoded as Ollama's server decodes them, checked into a pydantic model.

Field names match in any case, unknown ones are ignored with a warning, null is as good as absent, types are not
converted, and the Content-Type is never looked at (spec a.1). Errors speak as Go's decoder does, since clients show
them.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any, ClassVar, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, from_json

from corral.api.errors import RequestRefused
from corral.api.keys import REQUEST_FILES, SETTINGS, WARNINGS

MAX_BYTES = 64 * 2**20
MAX_VALUES = 2_000_000
MAX_OBJECTS = 10_000
"""How many objects (messages, tools, documents) a list may hold: each costs some ten microseconds to check."""
READ_TIMEOUT_S = 120.0

_SMALL = 2**16
_MOST_UNKNOWN = 10
_LONGEST_NAME = 60
_AT = re.compile(r" at line (\d+) column (\d+)\Z")


class Unknown:
    """The fields of one body that nothing here reads, told once each; the first few are enough to find a slip."""

    def __init__(self, root: type[WireModel]) -> None:
        self._root = root
        self._told: dict[str, None] = {}

    def add(self, name: str, model: type[WireModel]) -> None:
        """Note a field that an object of this kind does not have."""
        if len(self._told) < _MOST_UNKNOWN:
            shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
            where = "" if model is self._root else f" of {model.go_name}"
            self._told[f"field {shown!r}{where} is not known and was ignored"] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a client is told of them."""
        return tuple(self._told)


class WireModel(BaseModel):
    """A JSON object as Ollama reads it. Subclasses name the Go type they stand for, for the error texts."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)
    go_name: ClassVar[str] = "Request"

    @model_validator(mode="before")
    @classmethod
    def _match_names(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        wire_names = _wire_names(cls)
        matched: dict[str, Any] = {}
        for key, value in data.items():
            name = wire_names.get(key.lower()) if isinstance(key, str) else None
            if value is None:
                continue
            if name is not None:
                matched[name] = value
            elif isinstance(info.context, Unknown):
                info.context.add(key, cls)
        return matched


@functools.cache
def _wire_names(model: type[WireModel]) -> dict[str, str]:
    """Return what a model's fields are called on the wire, by that in lower case."""
    return {(field.alias or name).lower(): field.alias or name for name, field in model.model_fields.items()}


M = TypeVar("M", bound=WireModel)


async def read_json(request: web.Request, model: type[M], *, missing: str = "missing request body") -> M:
    """Read the request's body as one of ours; `missing` is said where there is none. Unknown fields become warnings.

    Raises:
        RequestRefused: 400 for what is no such object, 408 for one that doesn't arrive, 413 for one too large. And 400
            for unknown fields where warnings are errors (`CORRAL_STRICT`).
    """
    text = await _read(request)
    files = request.app.get(REQUEST_FILES)
    if files is not None:
        await asyncio.to_thread(files.add, request.method, request.path, text)
    if not text.strip():
        raise RequestRefused(missing)
    unknown = Unknown(model)
    if len(text) <= _SMALL:
        body = _decode(text, model, unknown)
    elif text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        # Scanning JSON lets nobody else run, not even from a thread: 64 MiB of "[]," would take seconds.
        raise RequestRefused("request body has too many values", 413)
    else:
        body = await asyncio.to_thread(_decode, text, model, unknown)
    if unknown.warnings and request.app[SETTINGS].strict:
        raise RequestRefused("; ".join(unknown.warnings))
    request[WARNINGS] += unknown.warnings
    return body


def _decode(text: bytes, model: type[M], unknown: Unknown) -> M:
    try:
        # Its nesting limit is 200, so no stack is at risk.
        data = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise RequestRefused(_syntax_message(str(error), text)) from None
    for name, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, list) and len(value) > MAX_OBJECTS and isinstance(value[0], dict):
            raise RequestRefused(f"too many {name}: {len(value)}, at most {MAX_OBJECTS}")
    try:
        return model.model_validate(data, context=unknown)
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
