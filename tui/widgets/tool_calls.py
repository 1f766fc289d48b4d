"""The functions a model wants called and what they gave back: a line each, or in full where somebody opened them."""

from __future__ import annotations

import json

from textual.content import Content

from corral.runtime.verbs import ToolCall
from corral.tui.text import clean, fit

__all__ = ["tool_call_lines", "tool_result_lines"]

_FOLDED_CELLS = 72
_FOLDED_ROWS = 3
_LONGEST_PARSED = 200_000  # characters; above that a result is drawn as it came


def tool_call_lines(call: ToolCall, *, is_open: bool, is_given: bool = False) -> Content:
    """Draw a call; `is_given` tells that its result is there."""
    sign = "▾" if is_open else "▸"
    wants, style = ("called", "dim") if is_given else ("wants", "$accent")
    given = "✓ " if is_given else ""
    if not is_open:
        arguments = ", ".join(f"{name}={_short(value)}" for name, value in call.arguments.items())
        return Content.styled(f"{sign} {given}{wants} {fit(f'{call.name}({arguments})', _FOLDED_CELLS)}", style)
    head = Content.styled(f"{sign} {given}{wants} {fit(call.name, _FOLDED_CELLS)}", style)
    rows = clean(json.dumps(dict(call.arguments), indent=2, ensure_ascii=False, default=str)).split("\n")
    return Content("\n").join([head, *(Content.styled(f"│ {row}", "dim") for row in rows)])


def tool_result_lines(text: str, *, is_open: bool) -> Content:
    """Draw what a tool gave back: its first rows; all of it, JSON in order, where it is opened."""
    if is_open:
        return Content(clean(_in_order(text)))
    rows = text.split("\n")
    shown = Content(clean("\n".join(rows[:_FOLDED_ROWS])))
    more = len(rows) - _FOLDED_ROWS
    if more <= 0:
        return shown
    return Content.assemble(shown, (f"\n… {more:,} more lines, o opens them", "dim"))


def _in_order(text: str) -> str:
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _LONGEST_PARSED:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
