"""How fast something goes, over the last few seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Rate:
    """Counts per second over a sliding window; falls to 0 when nothing comes."""

    def __init__(self, clock: Callable[[], float], window_s: float = 2.0) -> None:
        self._clock = clock
        self._window_s = window_s
        self._counts: deque[tuple[float, int]] = deque()
        self._sum = 0
        self.total = 0

    def add(self, count: int) -> None:
        """Count `count` now."""
        now = self._clock()
        self.total += count
        self._sum += count
        last = self._counts[-1] if self._counts else None
        if last is not None and now - last[0] < 0.05:
            self._counts[-1] = (last[0], last[1] + count)  # so that the window holds tens of entries, not thousands
        else:
            self._counts.append((now, count))
        self._drop_old(now)

    def in_window(self) -> int:
        """How many were counted within the window."""
        self._drop_old(self._clock())
        return self._sum

    def per_second(self) -> float:
        """The rate now."""
        now = self._clock()
        self._drop_old(now)
        if not self._counts:
            return 0.0
        span = max(now - self._counts[0][0], 0.25)
        return self._sum / span

    def _drop_old(self, now: float) -> None:
        while self._counts and now - self._counts[0][0] > self._window_s:
            self._sum -= self._counts.popleft()[1]
