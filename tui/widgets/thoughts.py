"""What a model thought before its answer: one line, or all of it where somebody opened it."""

from __future__ import annotations

from textual.content import Content

from corral.tui import figures
from corral.tui.text import clean, fit
from corral.tui.turns import Turn

__all__ = ["thoughts"]

_LONGEST_LIVE = 4_000  # characters of thoughts that are drawn anew with each piece that comes in
_LATEST = 200  # characters from the end in which the latest line of thoughts that still come in is looked for


def thoughts(turn: Turn, width: int, *, is_open: bool) -> Content:
    """Draw a turn's thoughts; folded and still coming in, their latest line is in view, at most `width` cells."""
    if not turn.thinking:
        return Content("")
    sign = "▾" if is_open else "▸"
    if turn.is_thinking:
        line = f"{sign} thinking… {figures.span(turn.thought_s)}"
        latest = turn.thinking[-_LATEST:].strip().rpartition("\n")[2]
        if not is_open and latest:
            line = fit(f"{line} · {latest}", max(width, len(line)))
    else:
        count = turn.stats.thinking_tokens
        tokens = f" · {figures.count(count)} tokens" if count else ""
        line = f"{sign} thought for {figures.span(turn.thought_s)}{tokens}"
    head = Content.styled(line, "dim")
    if not is_open:
        return head
    whole = turn.thinking.strip()
    said = whole if not turn.is_thinking or len(whole) <= _LONGEST_LIVE else f"…{whole[-_LONGEST_LIVE:]}"
    rows = (f"│ {row}" for row in clean(said).split("\n"))
    return Content("\n").join([head, *(Content.styled(row, "dim") for row in rows)])
