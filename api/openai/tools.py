"""Tools and calls between OpenAI's form and the workbench's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from pydantic_core import from_json

from corral.api.errors import RequestRefused
from corral.runtime.verbs import Message, ToolCall, ToolChoice, Tools

MAX_TOOLS = 1024


def tools_of(given: Sequence[object], choice: object, *, parallel: bool) -> Tools:
    """Return what the model may call. `choice` is a word, one function, or some (`allowed_tools`).

    Raises:
        RequestRefused: no tools, or the choice of none that is there.
    """
    if len(given) > MAX_TOOLS:
        raise RequestRefused(f"tools: {MAX_TOOLS} at most")
    functions = tuple(_function(tool, f"tools.{index}") for index, tool in enumerate(given))
    names = [_name(function) for function in functions]
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools", choice)
        allowed = inner.get("tools") if isinstance(inner, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(allowed, list):
            raise RequestRefused("tool_choice.allowed_tools must have a mode and tools")
        wanted = [_chosen(one, names) for one in allowed]
        functions = tuple(one for one in functions if _name(one) in wanted)
        choice = inner.get("mode", "auto")
    if choice is None or isinstance(choice, str):
        word = choice or ToolChoice.AUTO
        if word not in set(ToolChoice):
            raise RequestRefused(f"tool_choice {choice!r} is not known: none, auto, required or one function")
        if word == ToolChoice.REQUIRED and not functions:
            raise RequestRefused("tool_choice 'required' needs tools")
        return Tools(functions, ToolChoice(word), "", parallel)
    return Tools(functions, ToolChoice.REQUIRED, _chosen(choice, names), parallel)


def _function(tool: object, where: str) -> Mapping[str, object]:
    """Check a tool; what further it says is the model's template's matter."""
    if not isinstance(tool, Mapping):
        raise RequestRefused(f"{where} must be an object")
    kind, function = tool.get("type", "function"), tool.get("function")
    if kind != "function":
        raise RequestRefused(f"{where}.type {kind!r} is not supported: only 'function' is")
    if not isinstance(function, Mapping):
        raise RequestRefused(f"{where}.function must be an object")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise RequestRefused(f"{where}.function.name must be a text")
    if not isinstance(function.get("description") or "", str):
        raise RequestRefused(f"{where}.function.description must be a text")
    if not isinstance(function.get("parameters") or {}, Mapping):
        raise RequestRefused(f"{where}.function.parameters must be a JSON Schema object")
    return {"type": "function", **tool}


def _name(tool: Mapping[str, object]) -> str:
    function = tool["function"]
    return str(function["name"]) if isinstance(function, Mapping) else ""


def _chosen(choice: object, names: Sequence[str]) -> str:
    """Return the name of the function that a choice speaks of; it stands flat in `/v1/responses`."""
    described = choice.get("function", choice) if isinstance(choice, Mapping) else None
    name = described.get("name") if isinstance(described, Mapping) else None
    if not isinstance(name, str):
        raise RequestRefused("tool_choice must be none, auto, required or one function by its name")
    if name not in names:
        raise RequestRefused(f"tool_choice {name!r} is not among the tools")
    return name


def calls_of(given: Sequence[object]) -> tuple[ToolCall, ...]:
    """Return the calls an assistant's message brings.

    Raises:
        RequestRefused: one that is none, or arguments that are no JSON object in a text (spec b.2).
    """
    return tuple(_call(one) for one in given)


def _call(given: object) -> ToolCall:
    function = given.get("function") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(function, Mapping):
        raise RequestRefused("invalid tool call")
    return call_of(function.get("name"), function.get("arguments"), given.get("id"))


def call_of(name: object, arguments: object, call_id: object) -> ToolCall:
    """Return a call from its parts. Raises RequestRefused."""
    if not isinstance(name, str):
        raise RequestRefused("invalid tool call: no name")
    text = arguments or "{}"  # no text at all is what some clients send where there are no arguments
    try:
        by_name = from_json(text, allow_inf_nan=False) if isinstance(text, str) else None
    except ValueError:
        by_name = None
    if not isinstance(by_name, dict):
        raise RequestRefused("invalid tool call arguments")
    return ToolCall(name, by_name, call_id if isinstance(call_id, str) else "")


def named_results(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Say of every tool's message which tool it is, from the calls before it; the last one of an id counts."""
    names: dict[str, str] = {}
    told: list[Message] = []
    for message in messages:
        names.update({call.id: call.name for call in message.tool_calls if call.id})
        if message.role == "tool" and not message.tool_name:
            message = replace(message, tool_name=names.get(message.tool_call_id, ""))
        told.append(message)
    return tuple(told)


def with_ids(calls: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """Give an id to calls that have none, since results refer to it."""
    return tuple(call if call.id else replace(call, id=f"call_{secrets.token_hex(4)}") for call in calls)


def arguments_text(call: ToolCall) -> str:
    """Return a call's arguments as OpenAI sends them: JSON in a text."""
    return json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))


def call_object(call: ToolCall, index: int) -> dict[str, Any]:
    """Return a call as chat completions tell it."""
    function = {"name": call.name, "arguments": arguments_text(call)}
    return {"index": index, "id": call.id, "type": "function", "function": function}
