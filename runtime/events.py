"""What happened and why: a bounded list of events for the screens, and the same lines in the log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from corral.runtime.snapshot import EventView

KEPT = 200
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("corral")


class Events:
    """The newest events. Owned by the service loop. `on_add` is called with each."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._events: deque[EventView] = deque(maxlen=KEPT)
        self.on_add: Callable[[EventView], None] = lambda event: None

    def add(self, kind: str, text: str, level: str = "info") -> None:
        """Record that something happened; `kind` as in `EventView`."""
        event = EventView(self._wall_clock(), level, kind, text)
        self._events.appendleft(event)
        self.on_add(event)
        log.log(_LEVELS[level], "%s %s", kind, text)

    def newest(self) -> tuple[EventView, ...]:
        """All that are kept, newest first."""
        return tuple(self._events)
