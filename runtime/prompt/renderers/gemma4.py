"""Gemma 4: turns between `<|turn>` and `<turn|>`, the results of calls within the model's turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
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
    steps = [_Step(said, index, asked) for index, turn in enumerate(said) if turn.role != "tool"]
    for is_model, group in groupby(steps, lambda step: step.turn.role == "assistant"):
        if not is_model:
            parts += [f"<|turn>{step.turn.role}\n{step.turn.content.strip()}<turn|>\n" for step in group]
            continue
        of_model = list(group)
        parts.append("<|turn>model\n")
        parts += [step.written for step in of_model]
        last = of_model[-1]
        if last is steps[-1] and not last.turn.tool_calls:
            return "".join(parts)
        if not (last.waits or (last is steps[-1] and last.results and not last.content.strip())):
            parts.append("<turn|>\n")
    if steps and steps[-1].results:
        parts.append("<|channel>thought\n" if think else "")
    elif not (steps and steps[-1].waits):
        parts.append("<|turn>model\n" + ("<|channel>thought\n<channel|>" if closes and not think else ""))
    return "".join(parts)


class _Step:
    """A message with the results of its calls. The model's, one after another, are one turn of it."""

    def __init__(self, turns: Sequence[Turn], index: int, asked: int) -> None:
        self.turn = turns[index]
        self.results = "".join(_results(turns, index)) if self.turn.tool_calls else ""
        self.waits = bool(self.turn.tool_calls) and not self.results
        said = self.turn.content
        self.content = _THOUGHTS.sub("", said).strip() if "<|channel>" in said else said
        self._shows_thoughts = index > asked

    @property
    def written(self) -> str:
        """What it adds to a turn of the model."""
        thoughts = self.turn.thinking if self._shows_thoughts else ""
        before = f"<|channel>thought\n{thoughts}\n<channel|>" if thoughts else ""
        calls = "".join(map(_call, self.turn.tool_calls))
        return f"{before}{calls}{self.results}{self.content}" + ("<|tool_response>" if self.waits else "")


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
