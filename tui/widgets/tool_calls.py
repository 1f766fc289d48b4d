"""The functions a model wants called: a line each, or with all they are given where somebody opened them."""

from __future__ import annotations

import json

from textual.content import Content

from corral.runtime.verbs import ToolCall
from corral.tui.text import clean, fit

__all__ = ["tool_call_lines"]

_FOLDED_CELLS = 72


def tool_call_lines(call: ToolCall, *, is_open: bool) -> Content:
    """Draw a call."""
    sign = "▾" if is_open else "▸"
    if not is_open:
        given = ", ".join(f"{name}={_short(value)}" for name, value in call.arguments.items())
        return Content.styled(f"{sign} wants {fit(f'{call.name}({given})', _FOLDED_CELLS)}", "$accent")
    head = Content.styled(f"{sign} wants {fit(call.name, _FOLDED_CELLS)}", "$accent")
    rows = clean(json.dumps(dict(call.arguments), indent=2, ensure_ascii=False, default=str)).split("\n")
    return Content("\n").join([head, *(Content.styled(f"│ {row}", "dim") for row in rows)])


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
