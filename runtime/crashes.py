"""Models whose runner keeps dying: they are refused for a while, instead of being loaded again and again."""

from __future__ import annotations

from collections import deque

from corral.runtime.errors import KeepsDying

MOST = 5
WITHIN_S = 60.0


class Crashes:
    """When which runner died. Owned by the service loop; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._words: dict[str, str] = {}

    def add(self, digest: str, now: float, last_words: str) -> None:
        """Take note of a death."""
        self._times.setdefault(digest, deque(maxlen=MOST)).append(now)
        self._words[digest] = last_words

    def check(self, digest: str, name: str, now: float) -> None:
        """Raise KeepsDying for a model that died so often of late; it is tried again once it was left alone."""
        times = self._times.get(digest)
        if times is None:
            return
        if now - times[-1] >= WITHIN_S:
            del self._times[digest], self._words[digest]
        elif len(times) == MOST and now - times[0] < 2 * WITHIN_S and times[-1] - times[0] <= WITHIN_S:
            raise KeepsDying(name, MOST, self._words[digest], max(1, round(times[-1] + WITHIN_S - now)))
