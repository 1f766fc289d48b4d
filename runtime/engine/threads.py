"""How many threads compute the steps of streams that generate: fewer while other programs take their processors.

llama.cpp's threads wait for each other many times a token, so one whose processor somebody else takes holds up all. On
two cores beside one busy process a single thread is faster than two: 60 tokens a second against 17 to 45, by how long
threads spin before they sleep.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

SHARED: Final = 0.8
"""Threads that got less of their processors than this share them with somebody."""

IDLE: Final = 0.5
"""Of how many processors nobody made use where another thread is tried."""

GAIN: Final = 0.95
"""Another number of threads is kept where steps take less than this of what they took."""

SAMPLE: Final = 5
"""Steps one number of threads is judged by; a trial's first is not looked at, for it starts or ends threads."""

HOPELESS: Final = 1.2
"""A trial ends where its first two steps took longer than this times as long."""

PAUSE: Final = 3
"""Where nothing was computed for so many steps' time, nobody knows yet what is idle while something is."""

SOONEST_NS: Final = 500_000_000
LATEST_NS: Final = 16_000_000_000
"""From a trial in vain to the next: the first of these, then twice as long each time, up to the last."""


class Threads:
    """Says how many threads the next step gets and learns from how it went; belongs to the loop's thread.

    Only steps of as many streams are compared, without prompts and guesses. `most` is how many there are. `idle` gives
    of how many processors nobody made use since it was asked last.
    """

    def __init__(self, most: int, idle: Callable[[], float]) -> None:
        self.count = most
        self._most = most
        self._idle = idle
        self._streams = 0
        self._settled = most
        self._times: deque[int] = deque(maxlen=SAMPLE)
        self._shares: deque[float] = deque(maxlen=SAMPLE)
        self._tried: list[int] = []
        self._rest_ns = SOONEST_NS
        self._next_ns = 0
        self._seen_ns = 0
        self._halvings = 0

    def observe(self, streams: int, elapsed_ns: int, processor_ns: int, now_ns: int) -> None:
        """Learn from a step of `streams` streams for which this process took `processor_ns` of the processors."""
        if self._most == 1:
            return
        if now_ns - self._seen_ns > (1 + PAUSE) * elapsed_ns:
            self._idle()
            self._next_ns = max(self._next_ns, now_ns + SOONEST_NS // 4)
        self._seen_ns = now_ns
        if streams != self._streams:
            self._streams = streams
            self._settle(self._settled)
        if self.count != self._settled:
            self._try(elapsed_ns, now_ns)
            return
        self._times.append(elapsed_ns)
        self._shares.append(processor_ns / max(1, elapsed_ns))
        if len(self._times) == SAMPLE and now_ns >= self._next_ns:
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        got = statistics.median(self._shares)
        if self.count > 1 and got < SHARED * self.count:
            wanted = max(1, min(self.count - 1, round(got)) >> self._halvings)
            self._halvings = self._halvings + 1 if wanted > 1 else 0  # a few less are in vain where many are crowded
            self.count = wanted
        elif self.count < self._most:
            if (idle := self._idle()) >= IDLE:
                self.count = min(self._most, self.count + max(1, int(idle)))
            else:
                self._next_ns = now_ns + SOONEST_NS

    def _try(self, elapsed_ns: int, now_ns: int) -> None:
        self._tried.append(elapsed_ns)
        usual_ns = statistics.median(self._times)
        hopeless = len(self._tried) > 1 and min(self._tried) > HOPELESS * usual_ns
        if len(self._tried) < SAMPLE and not hopeless:
            return
        better = not hopeless and statistics.median(self._tried[1:]) < GAIN * usual_ns
        if better:
            self._halvings = 0
        self._rest_ns = SOONEST_NS if better else min(2 * self._rest_ns, LATEST_NS)
        self._next_ns = now_ns + self._rest_ns
        self._settle(self.count if better else self._settled)

    def _settle(self, count: int) -> None:
        self.count = self._settled = count
        self._times.clear()
        self._shares.clear()
        self._tried.clear()
