"""What may be asked of an answer's form, and what is refused before it costs anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime import formats
from corral.runtime.errors import BadRequest, InvalidFormat
from corral.runtime.formats import grammar_for


def schema_of(given_format: object) -> Any:
    grammar = grammar_for(given_format, {}, "", "")
    assert grammar is not None
    assert grammar.kind == "json_schema"
    return json.loads(grammar.text)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_nothing_is_asked_for() -> None:
    for nothing in (None, ""):
        assert grammar_for(nothing, {}, "", "") is None


@pytest.mark.parametrize("value", ["xml", "JSON", [], 5, True, ["json"]])
def test_what_is_no_format_is_told_in_the_words_clients_know(value: object) -> None:
    with pytest.raises(InvalidFormat) as caught:
        grammar_for(value, {}, "", "")
    assert str(caught.value) == f'invalid format: "{value}"; expected "json" or a valid JSON Schema object'


def test_the_word_json_asks_for_any_object() -> None:
    assert schema_of("json") == {"type": "object"}


def test_objects_are_closed_where_that_keeps_every_answer_valid() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    closed = schema_of({"type": "object", "properties": {"a": inner, "n": {"type": "array", "items": inner}}})
    assert closed["additionalProperties"] is False
    assert closed["properties"]["a"]["additionalProperties"] is False
    assert closed["properties"]["n"]["items"]["additionalProperties"] is False
    open_ones: list[dict[str, Any]] = [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {}}},
        {"type": "object", "properties": {"a": {}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {}}, "minProperties": 2},
        {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["b"]}]},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
    ]
    for schema in open_ones:
        assert schema_of(schema) == schema


def test_properties_called_like_keywords_are_properties() -> None:
    schema = {"type": "object", "properties": {"properties": {"type": "string"}, "items": {"type": "integer"}}}
    assert schema_of(schema) == {**schema, "additionalProperties": False}


HOSTILE = [
    (nested(60), "the schema is nested deeper than 100 levels"),
    ({"properties": {f"p{i}": {} for i in range(1001)}}, "the schema has more than 1000 properties"),
    ({"enum": list(range(2001))}, "the schema has more than 2000 enum values"),
    ({"enum": ["x" * 70_000]}, "the schema is larger than 65536 bytes"),
    (
        {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (9973, 10007, 10009)]},
        "the schema's multipleOf values have too large a common multiple",
    ),
    ({"anyOf": [{"multipleOf": 1e300}, {"multipleOf": 1e-300}]}, "multipleOf values have too large a common multiple"),
]


@pytest.mark.parametrize(("schema", "message"), HOSTILE)
def test_hostile_schemas_are_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        grammar_for(schema, {}, "", "")


def test_multiples_that_people_mean_pass() -> None:
    assert schema_of({"anyOf": [{"multipleOf": one} for one in (0.01, 0.25, 5, 100)]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grammar", "start: " + "(" * 60_000 + '"a"' + ")" * 60_000, "larger than 65536 bytes"),
        ("grammar", "start: " + "(" * 300 + '"a"' + ")" * 300, "nests more than 256 brackets"),
        ("grammar", "\n".join(f"T{i}: T{i + 1}" for i in range(4000)), "more than 300 rules"),
        ("grammar", "\n".join(f"a{i} ::= a{i + 1}" for i in range(301)), "more than 300 rules"),
        ("grammar", 'start: %json {"type": "object"}', "cannot hold %json"),
        ("regex", "a" * 70_000, "larger than 65536 bytes"),
        ("regex", "(" * 5000 + "a" + ")" * 5000, "nests more than 256 brackets"),
    ],
)
def test_hostile_grammars_are_refused(name: str, text: str, message: str) -> None:
    asked = {name: text}
    with pytest.raises(BadRequest, match=message):
        grammar_for(None, asked, asked.get("grammar", ""), asked.get("regex", ""))


def test_a_request_asks_for_one_form_and_its_own_wins_over_the_models() -> None:
    lark, regex = 'start: "a"', "[0-9]+"
    for given_format, asked in (
        ("json", {"grammar": lark}),
        ("json", {"regex": regex}),
        (None, {"grammar": lark, "regex": regex}),
    ):
        with pytest.raises(BadRequest, match="only one of format, grammar and regex"):
            grammar_for(given_format, asked, lark, regex)
    chosen = [
        grammar_for("json", {}, lark, regex),
        grammar_for(None, {"grammar": lark}, lark, regex),
        grammar_for(None, {"regex": regex}, lark, regex),
        grammar_for(None, {}, lark, ""),
    ]
    assert [one and one.kind for one in chosen] == ["json_schema", "grammar", "regex", "grammar"]


KEYWORDS = st.sampled_from(["type", "properties", "items", "enum", "required", "allOf", "$ref", "multipleOf", "x"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(KEYWORDS, one, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYWORDS, ANY_JSON))
def test_any_object_is_passed_on_or_refused(schema: dict[str, Any]) -> None:
    try:
        grammar = grammar_for(schema, {}, "", "")
    except BadRequest:
        return
    assert grammar is not None
    assert len(grammar.text) <= formats.MAX_BYTES + 100
