"""Schemas of all the shapes clients send, and a check of a value against one, for what these use of JSON Schema."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def text(most: int = 12, **more: object) -> Schema:
    return {"type": "string", "maxLength": most, **more}


def numbers(low: int = 0, high: int = 99) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def table(required: list[str] | None = None, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


def some(items: Schema, least: int = 0, most: int = 3) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


LEAVES: list[Schema] = [
    text(),
    numbers(),
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["red", "green", 3, None, True]},
    {"const": "only this"},
    {"type": ["string", "null"], "maxLength": 8},
    text(pattern="^[A-Z]{2}-[0-9]{3}$"),
    {"type": "string", "format": "date"},
    {"anyOf": [numbers(), text(6)]},
]

FIFTY: list[Schema] = [
    *LEAVES,
    *(table(value=leaf) for leaf in LEAVES),
    *(some(leaf, 1) for leaf in LEAVES),
    *(table(["a"], a=leaf, b=some(leaf, 0, 2)) for leaf in LEAVES),
    *(table(outer=table(inner=leaf, other=LEAVES[number - 1])) for number, leaf in enumerate(LEAVES)),
]


def complaint(schema: Schema, value: object, where: str = "$") -> str:
    """Say what of `value` does not satisfy `schema`, "" where all does."""
    if "anyOf" in schema:
        told = [complaint(one, value, where) for one in schema["anyOf"]]
        return "" if "" in told else f"{where}: no alternative fits"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{where}: {value!r} is not {schema['const']!r}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fits = [kind for kind in kinds if isinstance(value, TYPES[kind]) and (kind == "boolean") == isinstance(value, bool)]
    if kinds and not fits:
        return f"{where}: {value!r} is no {kinds}"
    if isinstance(value, dict):
        return _table_complaint(schema, value, where)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where}: {len(value)} items"
        told = [complaint(schema["items"], one, f"{where}[{at}]") for at, one in enumerate(value)]
        return next(filter(None, told), "")
    if isinstance(value, str):
        if len(value) > schema.get("maxLength", len(value)):
            return f"{where}: {value!r} is too long"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{where}: {value!r} does not match"
    if isinstance(value, int) and not isinstance(value, bool):
        return "" if schema.get("minimum", value) <= value <= schema.get("maximum", value) else f"{where}: {value}"
    return ""


def _table_complaint(schema: Schema, value: dict[str, Any], where: str) -> str:
    if missing := [name for name in schema.get("required", []) if name not in value]:
        return f"{where}: without {missing}"
    properties = schema.get("properties", {})
    if invented := [name for name in value if name not in properties]:
        return f"{where}: has {invented}"
    told = [complaint(properties[name], one, f"{where}.{name}") for name, one in value.items()]
    return next(filter(None, told), "")
