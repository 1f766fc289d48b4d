"""Poolside's Laguna: messages between tags named for their roles, calls as GLM's.

There are two forms: that of Laguna XS.2 puts everything on lines of its own (`laguna`), the later one none
(`poolside-v1`). Both follow the templates Poolside publishes with its models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.renderers.form import Tool, arguments, is_begun, to_json, value_text
from corral.runtime.prompt.renderers.tags import keyed_call
from corral.runtime.prompt.thinking import Think

_SYSTEM: Final = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users "
    "through natural language conversations."
)
_TAGS: Final = {"tool": "tool_response", "developer": "system"}


_HOW: Final = (
    "For each function call, return an unescaped XML-like object with function name and arguments within "
    "'<tool_call>' and '</tool_call>' tags, like here:\n"
)
_EXAMPLE: Final = (
    "<tool_call>function-name\n<arg_key>argument-key</arg_key>\n<arg_value>value-of-argument-key</arg_value>\n"
    "</tool_call>"
)


def laguna(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation in the form on lines; it thinks only where it is told to, and keeps old thoughts."""
    begins = bool(turns) and turns[0].role == "system"
    system = (turns[0].content if begins else _SYSTEM).rstrip()
    parts = ["〈|EOS|〉"]
    if system or tools:
        told = f"\n{system}" if system else ""
        told += f"\n\n{_listed(tools)}\n\n{_how(thinks=bool(think))}" if tools else ""
        parts.append(_on_lines("system", told))
    for index, turn in enumerate(turns):
        match turn.role:
            case "system" if index == 0:
                pass
            case "assistant":
                thoughts, content = turn.thinking.strip(), turn.content.strip()
                said = f"<think>\n{thoughts}\n</think>\n" if thoughts else "</think>\n"
                if is_begun(turns, index):
                    return "".join([*parts, "<assistant>\n", said, content])
                said += f"{content}\n" if content else ""
                parts.append(f"<assistant>\n{said}{''.join(map(_call_on_lines, turn.tool_calls))}</assistant>\n")
            case role:
                parts.append(_on_lines(_TAGS.get(role, role), turn.content))
    return "".join([*parts, "<assistant>\n", "<think>" if think else "</think>"])


def poolside(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; it thinks where nothing is said of it, and keeps the thoughts of old answers."""
    thinks = think is None or bool(think)
    begins = bool(turns) and turns[0].role == "system"
    told = [(turns[0].content if begins else _SYSTEM).rstrip(), _listed(tools)]
    parts = ["〈|EOS|〉"]
    if any(told) or thinks:
        parts.append(_tagged("system", "\n\n".join(filter(None, told))))
    for index, turn in enumerate(turns):
        match turn.role:
            case "system" if index == 0:
                pass
            case "assistant":
                said = (f"<think>{turn.thinking}</think>" if thinks else "</think>") + turn.content
                if is_begun(turns, index):
                    return "".join([*parts, "<assistant>", said])
                parts.append(_tagged("assistant", said + "".join(map(keyed_call, turn.tool_calls))))
            case role:
                parts.append(_tagged(_TAGS.get(role, role), turn.content))
    return "".join([*parts, "<assistant>", "<think>" if thinks else "</think>"])


def _tagged(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>\n"


def _on_lines(name: str, content: str) -> str:
    return f"<{name}>\n{content}\n</{name}>\n"


def _call_on_lines(call: ToolCall) -> str:
    given = "".join(
        f"<arg_key>{name}</arg_key>\n<arg_value>{value_text(value)}</arg_value>\n"
        for name, value in arguments(call).items()
    )
    return f"<tool_call>{call.name}\n{given}</tool_call>\n"


def _how(*, thinks: bool) -> str:
    if not thinks:
        return _HOW + _EXAMPLE
    how = f"Wrap your thinking in '<think>', '</think>' tags, followed by a function call. {_HOW}"
    return f"{how}<think> your thoughts here </think>\n{_EXAMPLE}"


def _listed(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    listed = "".join(f"{to_json(tool)}\n" for tool in tools)
    return (
        "### Tools\n\nYou may call functions to assist with the user query.\n"
        f"All available function signatures are listed below:\n<available_tools>\n{listed}</available_tools>"
    )
