"""What Go templates see of tools and of calls to them, and how Go prints these as JSON (spec g.2).

Ollama hands templates structs and maps that print themselves as JSON: structs in the order of their fields, maps
sorted by key, `<`, `>` and `&` escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from corral.runtime.engine.protocol import ToolCall

_ESCAPES: Final = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)
_LARGEST_PLAIN: Final = 1e21
_SMALLEST_PLAIN: Final = 1e-6
_MOST_NESTED: Final = 64

_TOOL: Final = (("Type", "type", True), ("Items", "items", False), ("Function", "function", True))
_FUNCTION: Final = (("Name", "name", True), ("Description", "description", True), ("Parameters", "parameters", True))
_PARAMETERS: Final = (
    ("Type", "type", True),
    ("Defs", "$defs", False),
    ("Items", "items", False),
    ("Required", "required", False),
    ("Properties", "properties", True),
)
_PROPERTY: Final = (
    ("AnyOf", "anyOf", False),
    ("Type", "type", False),
    ("Items", "items", False),
    ("Description", "description", False),
    ("Enum", "enum", False),
    ("Properties", "properties", False),
    ("Required", "required", False),
)
_CALL: Final = (("ID", "id", False), ("Function", "function", True))
_CALLED: Final = (("Index", "index", True), ("Name", "name", True), ("Arguments", "arguments", True))

_Fields = tuple[tuple[str, str, bool], ...]


class Printed:
    """A value that a template prints as JSON."""

    def __go_format__(self, spec: object) -> str:
        """Say what `printf` makes of it (gotpl's hook)."""
        return go_json(self)


class Struct(dict[str, object], Printed):
    """A Go struct: `fields` are its names in Go and in JSON, and whether it is in JSON where it is empty."""

    def __init__(self, fields: _Fields, values: Mapping[str, object]) -> None:
        super().__init__(values)
        self.fields = fields


class Map(dict[str, object], Printed):
    """A Go map."""


class Slice(list[object], Printed):
    """A Go slice."""


class Types(list[str], Printed):
    """The types of a parameter; one alone is no list."""


def go_tools(functions: Iterable[object]) -> Slice:
    """Return tools as clients send them, as templates see them; what Ollama's types don't know is left out."""
    return Slice(_tool(one) for one in functions if isinstance(one, Mapping))


def go_calls(calls: Sequence[ToolCall]) -> Slice:
    """Return the calls of a message as templates see them."""
    return Slice(
        Struct(
            _CALL,
            {
                "ID": call.id,
                "Function": Struct(
                    _CALLED, {"Index": index, "Name": call.name, "Arguments": Map(call_arguments(call.arguments))}
                ),
            },
        )
        for index, call in enumerate(calls)
    )


def call_arguments(text: str) -> dict[str, object]:
    """Return a call's arguments by name; none where they are no JSON object."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return {}
    return value if isinstance(value, dict) else {}


def go_json(value: object, depth: int = 0) -> str:
    """Print compact JSON as Go's encoder does. Raises ValueError where a value is nested too deep."""
    if depth > _MOST_NESTED:
        raise ValueError("a value is nested too deep")
    match value:
        case Struct():
            members = [
                (name, value[key])
                for key, name, always in value.fields
                if always or value[key] not in (None, "", [], {})
            ]
            return _object(members, depth)
        case Mapping():
            return _object(sorted((str(key), one) for key, one in value.items()), depth)
        case Types() if len(value) == 1:
            return _string(value[0])
        case str():
            return _string(value)
        case bool() | None:
            return json.dumps(value)
        case float():
            return _float(value)
        case list() | tuple():
            return "[" + ",".join(go_json(one, depth + 1) for one in value) + "]"
        case _:
            return json.dumps(value)


def go_text(value: object) -> object:
    """Return what an action of a template prints: JSON for what has that in Go, all else as it is."""
    if isinstance(value, Types):
        return value[0] if len(value) == 1 else list(value)
    return go_json(value) if isinstance(value, Printed) else value


def _object(members: Iterable[tuple[str, object]], depth: int) -> str:
    return "{" + ",".join(f"{_string(name)}:{go_json(one, depth + 1)}" for name, one in members) + "}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPES)


def _float(value: float) -> str:
    """Print a number as Go does: without a fraction where it has none, with an exponent of no leading zeros."""
    size = abs(value)
    if size and not _SMALLEST_PLAIN <= size < _LARGEST_PLAIN:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")


def _tool(tool: Mapping[str, object]) -> Struct:
    given = tool.get("function")
    function = given if isinstance(given, Mapping) else {}
    declared = function.get("parameters")
    parameters = declared if isinstance(declared, Mapping) else {}
    properties = parameters.get("properties")
    return Struct(
        _TOOL,
        {
            "Type": _text(tool.get("type")),
            "Items": tool.get("items"),
            "Function": Struct(
                _FUNCTION,
                {
                    "Name": _text(function.get("name")),
                    "Description": _text(function.get("description")),
                    "Parameters": Struct(
                        _PARAMETERS,
                        {
                            "Type": _text(parameters.get("type")),
                            "Defs": parameters.get("$defs"),
                            "Items": parameters.get("items"),
                            "Required": _list(parameters.get("required")),
                            "Properties": _properties(properties, 0),
                        },
                    ),
                },
            ),
        },
    )


def _properties(given: object, depth: int) -> Map | None:
    if not isinstance(given, Mapping) or depth > _MOST_NESTED:
        return None
    return Map({str(name): _property(one, depth + 1) for name, one in given.items()})


def _property(given: object, depth: int) -> Struct:
    schema = given if isinstance(given, Mapping) else {}
    kinds = schema.get("type")
    alternatives = schema.get("anyOf")
    deep = depth > _MOST_NESTED
    return Struct(
        _PROPERTY,
        {
            "AnyOf": Slice(
                _property(one, depth + 1)
                for one in (alternatives if isinstance(alternatives, list) and not deep else ())
            ),
            "Type": Types([kinds] if isinstance(kinds, str) else map(str, kinds if isinstance(kinds, list) else ())),
            "Items": schema.get("items"),
            "Description": _text(schema.get("description")),
            "Enum": _list(schema.get("enum")),
            "Properties": _properties(schema.get("properties"), depth),
            "Required": _list(schema.get("required")),
        },
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> Slice:
    return Slice(value if isinstance(value, list) else ())
