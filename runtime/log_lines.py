"""The newest lines of the service's log, for the screen: what happened, what was asked, what the runners write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from corral.runtime.snapshot import EventView, LogLine, RequestState, RequestView

KEPT_LINES = 500
_LONGEST = 2000


class LogLines:
    """Numbered lines, the oldest dropped. Owned by the service loop."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._number = 0
        self._shown: tuple[LogLine, ...] | None = ()

    def add(self, level: str, source: str, text: str) -> None:
        """Write a line; `level` is "debug", "info", "warning" or "error"."""
        self._number += 1
        self._lines.append(LogLine(self._number, self._wall_clock(), level, source, text[:_LONGEST]))
        self._shown = None

    def follow_event(self, event: EventView) -> None:
        """Write what happened."""
        self.add(event.level, event.kind, event.text)

    def follow_request(self, row: RequestView) -> None:
        """Write how a request ended: what was asked and what it took, nothing of the texts."""
        level = "error" if row.status >= 500 else "warning" if row.state is RequestState.FAILED else "info"
        took_s = (row.ended_s or row.started_s) - row.started_s
        parts = [row.client, row.method, row.path, row.model, str(row.status), f"{took_s * 1000:.0f} ms"]
        parts += [f"{row.output_tokens} tokens"] if row.output_tokens else []
        parts += [row.note] if row.note else []
        self.add(level, "http" if row.method else "local", " ".join(part for part in parts if part))

    def lines(self) -> tuple[LogLine, ...]:
        """All that are kept, oldest first."""
        if self._shown is None:
            self._shown = tuple(self._lines)
        return self._shown
