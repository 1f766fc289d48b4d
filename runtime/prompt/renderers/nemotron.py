"""Nemotron 3 and 3.5 Nano: ChatML with calls that look like tags, and a mark where thoughts were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

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
_MEDIUM: Final = "\n\n{reasoning effort: efficient}"


def nemotron3(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Nemotron 3: `/think` and `/no_think` in a message go before what the request says."""
    thinks = think is None or bool(think)
    heard: list[Turn] = []
    for turn in turns:
        if turn.role in ("user", "system"):
            found = {one[1] for one in _SWITCH.finditer(turn.content)}
            thinks = None in found if found else thinks
            content = _SWITCH.sub("", turn.content)
            told = turn.role == "system" and not heard
            turn = msgspec.structs.replace(turn, content=content if told else content.strip())
        heard.append(turn)
    return _write(heard, tools, thinks=thinks, closing="\n</think>\n")


def nemotron35(turns: Sequence[Turn], tools: Sequence[Tool], think: Think) -> str:
    """Nemotron 3.5: without switches; it is told where it is to think with medium effort."""
    said = list(turns)
    if think == "medium" and (asked := last_user(turns)) >= 0:
        said[asked] = msgspec.structs.replace(said[asked], content=said[asked].content + _MEDIUM)
    return _write(said, tools, thinks=think is None or bool(think), closing="</think>")


def _write(turns: Sequence[Turn], tools: Sequence[Tool], *, thinks: bool, closing: str) -> str:
    """Write a conversation; `closing` ends thoughts that are shown again."""
    system, said = leading_system(turns)
    listed = f"# Tools\n\nYou have access to the following functions:\n\n{_LISTING.tools(tools)}{CALL_RULES}"
    parts = [chatml("system", "\n\n".join(filter(None, [system, listed if tools else ""])))]
    asked = last_user(said)
    for index, turn in enumerate(said):
        match turn.role:
            case "assistant":
                body = _body(turn, closing, old=index < asked)
                if is_begun(said, index):
                    return "".join(parts) + f"{OPEN}assistant\n{body}"
                parts.append(chatml("assistant", body))
            case "tool":
                parts.append(f"{OPEN}user\n" if begins_results(said, index) else "")
                parts.append(f"<tool_response>\n{turn.content}\n</tool_response>\n")
                parts.append(f"{CLOSE}\n" if ends_results(said, index) else "")
            case role:
                parts.append(chatml(role, turn.content))
    return "".join([*parts, f"{OPEN}assistant\n", "<think>\n" if thinks else _EMPTY])


def _body(turn: Turn, closing: str, *, old: bool) -> str:
    """Return an answer with its thoughts; an old one with none, but with a mark that there were."""
    if turn.thinking.strip():
        text = f"<think>\n{turn.thinking}{closing}{turn.content}"
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
