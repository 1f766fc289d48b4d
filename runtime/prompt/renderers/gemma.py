"""FunctionGemma: Gemma 3's turns, with declarations, calls and results in a notation of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import (
    Tool,
    arguments,
    function_of,
    is_begun,
    leading_system,
    listing,
    parameters_of,
    properties_of,
    text_of,
)
from corral.runtime.prompt.thinking import Think

_CALLING: Final = "You can do function calling with the following functions:"
_QUOTE: Final = "<escape>"


def functiongemma(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; calls, their results and what follows on them stand in one turn of the model."""
    system, said = leading_system(turns, "developer")
    system = system.strip()
    parts = []
    if system or tools:
        rule = _CALLING if tools and system != _CALLING else ""
        told = "\n".join(filter(None, [system, rule])) if rule else system + ("\n" if tools else "")
        parts.append(f"<start_of_turn>developer\n{told}{''.join(map(_declaration, tools))}<end_of_turn>\n")
    for index, turn in enumerate(said):
        goes_on = index > 0 and said[index - 1].role == "tool" and turn.role in ("assistant", "user")
        content = turn.content.strip()
        match turn.role:
            case "tool":
                name = turn.tool_name or _name_of(said, index)
                result = notation(turn.content, _QUOTE)
                parts.append(f"<start_function_response>response:{name}{{{result}}}<end_function_response>")
            case "assistant":
                parts.append(("" if goes_on else "<start_of_turn>model\n") + content)
                parts += map(_call, turn.tool_calls)
                if is_begun(said, index):
                    return "".join(parts)
                answered = turn.tool_calls and index + 1 < len(said) and said[index + 1].role == "tool"
                parts.append("" if answered else "<end_of_turn>\n")
            case role:
                parts.append(("" if goes_on else f"<start_of_turn>{role}\n") + f"{content}<end_of_turn>\n")
    goes_on = bool(said) and said[-1].role == "tool"
    return "".join([*parts, "" if goes_on else "<start_of_turn>model\n"])


def notation(value: object, quote: str, *, quote_keys: bool = False) -> str:
    """Write a value as Gemma's calls have it: texts between `quote`s, keys sorted."""
    match value:
        case str():
            return f"{quote}{value}{quote}"
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case float() if value.is_integer():
            return str(int(value))
        case Mapping():
            mark = quote if quote_keys else ""
            pairs = sorted((str(key), one) for key, one in value.items())
            inner = ",".join(f"{mark}{key}{mark}:{notation(one, quote, quote_keys=quote_keys)}" for key, one in pairs)
            return f"{{{inner}}}"
        case list():
            return f"[{','.join(notation(one, quote, quote_keys=quote_keys) for one in value)}]"
    return str(value)


def _call(call: ToolCall) -> str:
    return f"<start_function_call>call:{call.name}{notation(arguments(call), _QUOTE)}<end_function_call>"


def _name_of(turns: Sequence[Turn], index: int) -> str:
    """Return which function a result is of, by its place behind the calls."""
    first = index
    while first > 0 and turns[first - 1].role == "tool":
        first -= 1
    calls = turns[first - 1].tool_calls if first else []
    return calls[index - first].name if index - first < len(calls) else ""


def _declaration(tool: Tool) -> str:
    function, parameters = function_of(tool), parameters_of(tool)
    described = text_of(function.get("description"))
    fields = []
    properties = sorted(properties_of(tool), key=lambda pair: pair[0])
    if properties:
        inner = ",".join(f"{name}:{{{_property(schema)}}}" for name, schema in properties)
        fields.append(f"properties:{{{inner}}}")
    if required := listing(parameters.get("required")):
        fields.append(f"required:{notation(list(required), _QUOTE)}")
    if kind := text_of(parameters.get("type")):
        fields.append(f"type:{_QUOTE}{kind.upper()}{_QUOTE}")
    declared = f",parameters:{{{','.join(fields)}}}" if fields else ""
    head = f"declaration:{text_of(function.get('name'))}{{description:{_QUOTE}{described}{_QUOTE}"
    return f"<start_function_declaration>{head}{declared}}}<end_function_declaration>"


def _property(schema: Mapping[str, object]) -> str:
    described = f"description:{_QUOTE}{text_of(schema.get('description'))}{_QUOTE}"
    kinds = schema.get("type")
    kind = text_of(kinds) or next((text_of(one) for one in listing(kinds)), "")
    return described + (f",type:{_QUOTE}{kind.upper()}{_QUOTE}" if kind else "")
