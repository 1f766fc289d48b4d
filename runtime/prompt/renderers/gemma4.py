"""Gemma 4: turns between `<|turn>` and `<turn|>`, the results of calls within the model's turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    function_of,
    last_user,
    leading_system,
    listing,
    mapping,
    parameters_of,
    text_of,
)
from corral.runtime.prompt.renderers.gemma import notation
from corral.runtime.prompt.thinking import Think

_QUOTE: Final = '<|"|>'
_THOUGHTS: Final = re.compile(r"<\|channel>.*?(?:<channel\|>|\Z)", re.DOTALL)
_STANDARD: Final = frozenset({"description", "type", "properties", "required", "nullable"})
_MOST_NESTED: Final = 32


def gemma4(turns: Sequence[Turn], tools: Sequence[Tool], think: Think, *, closes: bool) -> str:
    """Write a conversation; a model that `closes` is shown empty thoughts where it is not to think."""
    begins = bool(turns) and turns[0].role in ("system", "developer")
    system, said = leading_system(turns, "developer")
    parts = ["<bos>"]
    if begins or tools or think:
        told = ("<|think|>\n" if think else "") + system.strip() + "".join(map(_declaration, tools))
        parts.append(f"<|turn>system\n{told}<turn|>\n")
    asked = last_user(said)
    spoken = [index for index, turn in enumerate(said) if turn.role != "tool"]
    open_calls = after_results = False
    for place, index in enumerate(spoken):
        turn = said[index]
        before = said[spoken[place - 1]].role if place else ""
        after = said[spoken[place + 1]].role if place + 1 < len(spoken) else ""
        is_model = turn.role == "assistant"
        if not (is_model and before == "assistant"):
            parts.append(f"<|turn>{'model' if is_model else turn.role}\n")
        if is_model and turn.thinking and index > asked:
            parts.append(f"<|channel>thought\n{turn.thinking}\n<channel|>")
        parts += map(_call, turn.tool_calls)
        results = list(_results(said, index)) if turn.tool_calls else []
        parts += results
        content = _THOUGHTS.sub("", turn.content).strip() if "<|channel>" in turn.content else turn.content
        parts.append(content if is_model else turn.content.strip())
        open_calls, after_results = bool(turn.tool_calls) and not results, bool(results)
        if is_model and not after and not turn.tool_calls:
            return "".join(parts)
        goes_on = is_model and after == "assistant" and (not turn.tool_calls or after_results)
        if open_calls:
            parts.append("<|tool_response>")
        elif not goes_on and not (after_results and not content.strip() and not after):
            parts.append("<turn|>\n")
    if after_results:
        parts.append("<|channel>thought\n" if think else "")
    elif not open_calls:
        parts.append("<|turn>model\n" + ("<|channel>thought\n<channel|>" if closes and not think else ""))
    return "".join(parts)


def _results(turns: Sequence[Turn], index: int) -> Iterator[str]:
    """Write the results of the calls of a message."""
    names = {call.id: call.name for call in turns[index].tool_calls if call.id}
    for number, turn in enumerate(turns[index + 1 :]):
        if turn.role != "tool":
            return
        calls = turns[index].tool_calls
        by_place = calls[number].name if number < len(calls) else "unknown"
        name = names.get(turn.tool_call_id) or turn.tool_name or by_place
        yield f"<|tool_response>response:{name}{{value:{notation(turn.content, _QUOTE)}}}<tool_response|>"


def _call(call: ToolCall) -> str:
    return f"<|tool_call>call:{call.name}{notation(arguments(call), _QUOTE)}<tool_call|>"


def _quoted(text: str) -> str:
    return f"{_QUOTE}{text}{_QUOTE}"


def _declaration(tool: Tool) -> str:
    function, parameters = function_of(tool), parameters_of(tool)
    fields = []
    if properties := mapping(parameters.get("properties")):
        fields.append(f"properties:{{{_properties(properties)}}}")
    if required := listing(parameters.get("required")):
        fields.append(f"required:{_texts(required)}")
    if kind := text_of(parameters.get("type")):
        fields.append(f"type:{_quoted(kind.upper())}")
    declared = f",parameters:{{{','.join(fields)}}}" if fields else ""
    described = _quoted(text_of(function.get("description")))
    return f"<|tool>declaration:{text_of(function.get('name'))}{{description:{described}{declared}}}<tool|>"


def _properties(properties: Mapping[str, object], depth: int = 0) -> str:
    if depth > _MOST_NESTED:
        return ""
    named = sorted((str(name), schema) for name, schema in properties.items() if isinstance(schema, Mapping))
    return ",".join(f"{name}:{{{','.join(_property(schema, depth))}}}" for name, schema in named)


def _property(schema: Mapping[str, object], depth: int) -> Iterator[str]:
    """Yield what is said of a parameter."""
    kinds = _kinds(schema)
    kind = kinds[0] if len(kinds) == 1 else ""
    if described := text_of(schema.get("description")):
        yield f"description:{_quoted(described)}"
    if kind == "STRING" and (values := listing(schema.get("enum"))):
        yield f"enum:{_texts(values)}"
    if kind == "ARRAY" and (items := mapping(schema.get("items"))):
        yield f"items:{{{','.join(_items(items, depth + 1))}}}"
    if schema.get("nullable") is True:
        yield "nullable:true"
    if kind == "OBJECT":
        inner = mapping(schema.get("properties")) or {k: v for k, v in schema.items() if k not in _STANDARD}
        yield f"properties:{{{_properties(inner, depth + 1)}}}"
        if required := listing(schema.get("required")):
            yield f"required:{_texts(required)}"
    if kind:
        yield f"type:{_quoted(kind)}"
    elif kinds:
        # The template prints a list as Python does.
        yield f"type:{_quoted(str(kinds))}"


def _items(schema: Mapping[str, object], depth: int) -> Iterator[str]:
    """Yield what is said of a list's elements."""
    for key, value in sorted(schema.items()):
        match key:
            case _ if value is None:
                pass
            case "properties":
                yield f"properties:{{{_properties(mapping(value), depth)}}}"
            case "required":
                yield f"required:{_texts(listing(value))}"
            case "type":
                kinds = _kinds(schema)
                yield f"type:{_quoted(kinds[0]) if len(kinds) == 1 else _texts(kinds)}"
            case _:
                yield f"{key}:{notation(value, _QUOTE, quote_keys=True)}"


def _kinds(schema: Mapping[str, object]) -> list[str]:
    """Return a schema's types in capitals; those of bare alternatives where it has none itself."""
    kinds = schema.get("type")
    if kinds is None:
        kinds = [mapping(choice).get("type") for choice in listing(schema.get("anyOf"))]
    return [text_of(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else listing(kinds)) if kind]


def _texts(values: Sequence[object]) -> str:
    return f"[{','.join(_quoted(str(value)) for value in values)}]"
