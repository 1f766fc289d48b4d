"""The tools of a request, checked, and the calls of an answer on their way to whoever asked."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from typing import Final

from corral.runtime.conversation import ToolCall, ToolChoice, Tools
from corral.runtime.engine import protocol
from corral.runtime.errors import BadRequest
from corral.runtime.formats import schema_text

MOST_TOOLS: Final = 256
_LETTERS: Final = string.ascii_lowercase + string.digits


def new_call_id(choose: Callable[[str], str] = random.choice) -> str:
    """Return an id for a call, as Ollama makes them (spec a.8); `choose` picks a character."""
    return "call_" + "".join(choose(_LETTERS) for _ in range(8))


def parse_tool_choice(value: object) -> tuple[ToolChoice, str]:
    """Return whether tools are to be called, and the only one that may be, "" for any; values are OpenAI's.

    Raises:
        BadRequest: it is none of "none", "auto", "required" and an object that names a function.
    """
    if value is None:
        return ToolChoice.AUTO, ""
    if isinstance(value, str) and value in set(ToolChoice):
        return ToolChoice(value), ""
    name = _function(value).get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or not name:
        raise BadRequest(
            'tool_choice must be "none", "auto", "required" or {"type": "function", "function": {"name": …}}'
        )
    return ToolChoice.REQUIRED, name


def tool_use(tools: Tools, *, bound: bool) -> protocol.ToolUse | None:
    """Return what a runner is told of a request's tools, None where the model is to call none.

    `bound` says that the answer has to have a form of its own.

    Raises:
        BadRequest: they are none, or contradict what else is asked for.
    """
    must = tools.choice is ToolChoice.REQUIRED or bool(tools.only)
    if tools.choice is ToolChoice.NONE:
        return None
    if not tools.functions:
        if must:
            raise BadRequest("tool_choice asks for a call, but there are no tools")
        return None
    if must and bound:
        raise BadRequest("only one of format, grammar, regex and a tool_choice that asks for a call can be given")
    if len(tools.functions) > MOST_TOOLS:
        raise BadRequest(f"there are more than {MOST_TOOLS} tools")
    names = {_name(tool, number) for number, tool in enumerate(tools.functions)}
    if tools.only and tools.only not in names:
        raise BadRequest(f"tool_choice names {tools.only!r}, which is none of the tools")
    if must:
        for tool in tools.functions:
            schema_text(_parameters(tool))
    return protocol.ToolUse(json.dumps(tools.functions), str(tools.choice), tools.only, tools.parallel)


def _function(tool: Mapping[str, object]) -> Mapping[str, object]:
    function = tool.get("function")
    return function if isinstance(function, Mapping) else {}


def _parameters(tool: Mapping[str, object]) -> Mapping[str, object]:
    parameters = _function(tool).get("parameters")
    return parameters if isinstance(parameters, Mapping) else {}


def _name(tool: Mapping[str, object], number: int) -> str:
    name = _function(tool).get("name")
    if not isinstance(name, str) or not name.strip():
        raise BadRequest(f"tools[{number}] has no function with a name")
    return name


def call_from(call: protocol.ToolCall, call_id: str) -> ToolCall:
    """Return a runner's call as the verbs have it."""
    return ToolCall(call.name, json.loads(call.arguments), call_id)
