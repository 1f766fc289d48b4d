"""What form an answer must have: checked and bounded here, before a model is loaded for it (spec a.7).

The engine compiles what comes through; the bounds keep a stranger's schema from costing it more than a moment, or,
where its parser recurses, its life.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final, TypeGuard

from corral.runtime.engine.protocol import Grammar
from corral.runtime.errors import BadRequest, InvalidFormat

Format = str | Mapping[str, object]

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 100
"""Nested values in a schema; two a level of objects."""
MAX_PROPERTIES: Final = 1000
MAX_ENUM_VALUES: Final = 2000
MAX_RULES: Final = 300
"""Definitions in a grammar: the engine's parser recurses over chains of them."""
MAX_BRACKETS: Final = 256
MAX_MULTIPLE: Final = 1_000_000
"""The least common multiple of a schema's `multipleOf`, in units of the finest: the engine combines them."""

_ANY_OBJECT: Final = '{"type": "object"}'
_BY_NAME: Final = ("properties", "patternProperties", "$defs", "definitions")
_SEVERAL: Final = ("anyOf", "oneOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "contains")
_COMPOSING: Final = ("$ref", "anyOf", "oneOf", "if", "dependentSchemas")
_OPENING: Final = ("additionalProperties", "unevaluatedProperties", "patternProperties", "minProperties")


def parse_format(value: object) -> Format | None:
    """Check what a request has as `format`; None where it asks for nothing.

    Raises:
        InvalidFormat: neither "json" nor an object.
    """
    if value is None or value == "":
        return None
    if value == "json":
        return "json"
    if not isinstance(value, Mapping):
        raise InvalidFormat(value)
    return value


def grammar_for(given: object, asked: Mapping[str, object], grammar: str, regex: str) -> Grammar | None:
    """Choose what binds an answer: a request's format, its own options, or those its model has; None for nothing.

    `asked` are the request's options, `grammar` and `regex` those options after the model's own came in.

    Raises:
        InvalidFormat: as `parse_format`.
        BadRequest: two at a time, or one beyond the bounds.
    """
    wanted = parse_format(given)
    own = [name for name in ("grammar", "regex") if asked.get(name)]
    if len(own) + (wanted is not None) > 1:
        raise BadRequest("only one of format, grammar and regex can be given")
    if wanted is not None:
        return Grammar("json_schema", _ANY_OBJECT if isinstance(wanted, str) else schema_text(wanted))
    if regex and own != ["grammar"]:
        return Grammar("regex", _bounded(regex, "regex"))
    return Grammar("grammar", _grammar_text(grammar)) if grammar else None


def _bounded(text: str, what: str) -> str:
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise BadRequest(f"the {what} is larger than {MAX_BYTES} bytes")
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    if deepest > MAX_BRACKETS:
        raise BadRequest(f"the {what} nests more than {MAX_BRACKETS} brackets")
    return text


def _grammar_text(text: str) -> str:
    _bounded(text, "grammar")
    if text.count("::=") > MAX_RULES or text.count(":") > 2 * MAX_RULES:  # Lark's need one colon, and texts have some
        raise BadRequest(f"the grammar has more than {MAX_RULES} rules")
    if "%json" in text:  # what it holds would pass none of the bounds a schema has
        raise BadRequest("a grammar cannot hold %json; use format for a schema")
    return text


def schema_text(schema: Mapping[str, object]) -> str:
    """Return a schema as the engine is given it; what it doesn't name, its objects don't have.

    Raises:
        BadRequest: it is beyond the bounds.
    """
    _measure(schema)
    # ASCII, so that half a surrogate pair is an escape that the engine refuses and not an error here.
    return _within(json.dumps(schema if _composes(schema) else _closed(schema)))


def _within(text: str) -> str:
    if len(text) > MAX_BYTES:
        raise BadRequest(f"the schema is larger than {MAX_BYTES} bytes")
    return text


def _measure(schema: Mapping[str, object]) -> None:
    """Refuse a schema that is too deep, has too many properties or values, or needs numbers nobody means."""
    properties = values = 0
    multiples: set[Fraction] = set()
    for key, value, depth in _walk(schema):
        if depth > MAX_DEPTH:
            raise BadRequest(f"the schema is nested deeper than {MAX_DEPTH} levels")
        if key == "properties" and isinstance(value, Mapping):
            properties += len(value)
        elif key == "enum" and isinstance(value, list):
            values += len(value)
        elif key == "multipleOf" and _is_number(value):
            multiples.add(Fraction(str(value)) if abs(value) < 1e15 else Fraction(2**60))
    if properties > MAX_PROPERTIES:
        raise BadRequest(f"the schema has more than {MAX_PROPERTIES} properties")
    if values > MAX_ENUM_VALUES:
        raise BadRequest(f"the schema has more than {MAX_ENUM_VALUES} enum values")
    if len(multiples) > 1 and _combined(multiples) > MAX_MULTIPLE:
        raise BadRequest("the schema's multipleOf values have too large a common multiple")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _combined(multiples: set[Fraction]) -> int:
    unit = math.lcm(*(one.denominator for one in multiples))
    combined = 1
    for one in multiples:
        combined = math.lcm(combined, abs(int(one * unit)) or 1)
        if combined > MAX_MULTIPLE:
            break
    return combined


def _walk(schema: object) -> Iterator[tuple[str, object, int]]:
    """Yield every value with its key and its depth; the items of a list have none."""
    waiting: list[tuple[str, object, int]] = [("", schema, 1)]
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        if isinstance(value, Mapping):
            waiting += [(str(name), one, depth + 1) for name, one in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [("", one, depth + 1) for one in value]


def _composes(schema: object) -> bool:
    """Say whether an object's properties are put together from several places of a schema."""
    return any(
        isinstance(value, Mapping)
        and ("allOf" in value or ("properties" in value and not value.keys().isdisjoint(_COMPOSING)))
        for _key, value, _depth in _walk(schema)
    )


def _closed(schema: object) -> object:
    """Return a schema whose objects have the properties it names and no others, where it says nothing of others.

    That is how Ollama reads one: a model that may invent keys goes on inventing them. Every answer to the closed schema
    is one to the schema.
    """
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, Mapping):
            closed[key] = {name: _closed(one) for name, one in value.items()}
        elif key in _SEVERAL and isinstance(value, list):
            closed[key] = [_closed(one) for one in value]
        elif key in _SINGLE:
            closed[key] = _closed(value)
    named, required = schema.get("properties"), schema.get("required")
    if isinstance(named, Mapping) and named and schema.keys().isdisjoint(_OPENING):
        wanted = required if isinstance(required, list) else []
        if all(name in named for name in wanted if isinstance(name, str)):
            closed["additionalProperties"] = False
    return closed
