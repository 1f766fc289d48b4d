"""Those who wait as rows: who, for which model, since when, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from corral.runtime.snapshot import QueueView
from corral.tui.figures import NONE, clock, span
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

COLUMNS = (
    Column("client", "CLIENT", 10),
    Column("model", "MODEL", 12),
    Column("since", "WAITS", 5, is_right=True),
    Column("priority", "P", 2, is_right=True),
    Column("reason", "WHY", 0),
)


def rows(queue: Sequence[QueueView], now_s: float) -> list[tuple[str, Row]]:
    """A row for each, by its request's id; those without one are told apart by their place."""
    return [(one.request_id or f"nameless {place}", _row(one, now_s)) for place, one in enumerate(queue)]


def _row(one: QueueView, now_s: float) -> Row:
    cells = {
        "client": clean_line(one.client) or NONE,
        "model": clean_line(one.model),
        "since": clock(now_s - one.since_s),
        "priority": f"{one.priority:+d}" if one.priority else "",
        "reason": clean_line(one.reason),
    }
    return {key: Text(cell) for key, cell in cells.items()}


def title(queue: Sequence[QueueView], now_s: float) -> str:
    """How many wait, the longest how long, and the reason most of them have."""
    if not queue:
        return "Queue · nobody waits"
    longest = max(now_s - one.since_s for one in queue)
    reason, _ = Counter(one.reason for one in queue).most_common(1)[0]
    return f"Queue {len(queue)} · oldest {span(longest)} · {clean_line(reason)}"
