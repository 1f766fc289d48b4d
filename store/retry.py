"""When to try again, how long to wait before, and how fast to go at most."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from corral.store.errors import SourceError


class Again(Exception):
    """An attempt failed, and another may do better; `after_s` is what the other side asked to be left alone."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a transfer puts up with. Times in seconds; `tries` are those in a row that bring nothing at all.

    A connection that is silent for `stall_s` is given up, and so is one that for `slow_s` goes at a small part of the
    speed another had.
    """

    tries: int = 6
    first_s: float = 1.0
    longest_s: float = 30.0
    longest_asked_s: float = 300.0
    connect_s: float = 15.0
    stall_s: float = 30.0
    slow_s: float = 5.0


class Attempts:
    """Counts failures in a row and says how long to wait after each."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0

    def succeeded(self) -> None:
        """Begin to count anew."""
        self._failures = 0

    def wait_s(self, error: Again) -> float:
        """Seconds to wait before the next try.

        Raises:
            SourceError: there is to be none.
        """
        self._failures += 1
        if self._failures >= self._patience.tries:
            raise SourceError(str(error)) from error
        if error.after_s is not None:
            if error.after_s > self._patience.longest_asked_s:
                raise SourceError(f"{error}; it asks to come back in {error.after_s:.0f} seconds") from error
            return error.after_s
        # Spread out, so that many who failed together do not come back together.
        longest = min(self._patience.first_s * 2 ** (self._failures - 1), self._patience.longest_s)
        return random.uniform(longest / 2, longest)


def retry_after_s(value: str | None, now: float | None = None) -> float | None:
    """Read a `Retry-After` header: seconds, or a date (RFC 9110, 10.2.3); None for what is neither."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


class RateLimit:
    """Lets so many bytes a second through for all who share it; 0 is no limit. Owned by one loop."""

    def __init__(self, bytes_per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._free_at = 0.0

    def change(self, bytes_per_s: int) -> None:
        """Let so many through from now on, in what is under way too."""
        if bytes_per_s != self.bytes_per_s:
            self.bytes_per_s, self._free_at = bytes_per_s, 0.0

    def delay_s(self, size: int) -> float:
        """Book `size` bytes, and say for how many seconds their owner has to wait."""
        if not self.bytes_per_s:
            return 0.0
        now = self._clock()
        self._free_at = max(self._free_at, now) + size / self.bytes_per_s
        return self._free_at - now

    async def take(self, size: int) -> None:
        """Wait until `size` bytes may have passed."""
        delay_s = self.delay_s(size)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
