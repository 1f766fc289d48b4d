"""Poolside's Laguna: messages between tags named for their roles, calls as GLM's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import Tool, is_begun, to_json
from corral.runtime.prompt.renderers.tags import keyed_call
from corral.runtime.prompt.thinking import Think

_SYSTEM: Final = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users "
    "through natural language conversations."
)
_TAGS: Final = {"tool": "tool_response", "developer": "system"}


def laguna(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
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


def _listed(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    listed = "".join(f"{to_json(tool)}\n" for tool in tools)
    return (
        "### Tools\n\nYou may call functions to assist with the user query.\n"
        f"All available function signatures are listed below:\n<available_tools>\n{listed}</available_tools>"
    )
