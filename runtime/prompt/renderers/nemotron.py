"""Nemotron 3 Nano: ChatML with calls that look like tags, and thoughts that questions switch on and off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.renderers.form import (
    CLOSE,
    OPEN,
    Tool,
    begins_results,
    chatml,
    ends_results,
    is_begun,
    last_user,
    leading_system,
    to_json,
)
from corral.runtime.prompt.renderers.tags import CALL_RULES, Listing, tagged_call
from corral.runtime.prompt.thinking import Think

_SWITCH: Final = re.compile(r"(?!(?<=<)/think>)/(no_)?think")
"""What switches thoughts on or off; the tag that closes them is none."""
_EMPTY: Final = "<think></think>"


def nemotron(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Write a conversation; `/think` and `/no_think` in a message go before what the request says."""
    system, said = leading_system(turns)
    listed = f"# Tools\n\nYou have access to the following functions:\n\n{_LISTING.tools(tools)}{CALL_RULES}"
    told = [_SWITCH.sub("", system), listed if tools else ""]
    parts = [chatml("system", "\n\n".join(filter(None, told)))]
    asked = last_user(said)
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant":
                body = _body(turn, old=index < asked)
                if is_begun(said, index):
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "user" | "system" as role:
                parts.append(chatml(role, _SWITCH.sub("", turn.content).strip()))
            case "tool":
                parts.append(f"{OPEN}user\n" if begins_results(said, index) else "")
                parts.append(f"<tool_response>\n{turn.content}\n</tool_response>\n")
                parts.append(f"{CLOSE}\n" if ends_results(said, index) else "")
            case role:
                parts.append(chatml(role, turn.content))
    return "".join([*parts, f"{OPEN}assistant\n", "<think>\n" if _thinks(turns, think) else _EMPTY])


def _thinks(turns: Sequence[Turn], think: Think) -> bool:
    """Say whether it is to think: by the newest message with a switch; of two in one, `/think` counts."""
    for turn in reversed(turns):
        if turn.role in ("user", "system") and (found := {one[1] for one in _SWITCH.finditer(turn.content)}):
            return None in found
    return think is None or bool(think)


def _body(turn: Turn, *, old: bool) -> str:
    """Return an answer with its thoughts; an old one with none, but with a mark that there were."""
    if turn.thinking:
        text = f"<think>\n{turn.thinking}\n</think>\n{turn.content}"
    else:
        text = turn.content if re.search("</?think>", turn.content) else _EMPTY + turn.content
    if old and "</think>" in text:
        rest = text.rpartition("</think>")[2]
        text = _EMPTY + (rest.strip() if turn.tool_calls else rest)
    calls = "".join(f"{tagged_call(call, _python)}\n" for call in turn.tool_calls)
    return "\n".join(filter(None, [text.strip(), calls]))


def _python(value: object) -> str:
    """Print a value as the template does: objects and lists as JSON, all else as Python."""
    return to_json(value) if isinstance(value, dict | list) else str(value)


_LISTING: Final = Listing(
    lambda key, value: str(value) if key == "type" else _python(value),
    first=("type", "description", "enum"),
    last=("required",),
    shows_nulls=True,
    trims=True,
)
