"""How much of what was drawn is still on its way to the terminal.

Between this process and the eye there may be megabytes of buffers: pipes, sshd's windows, sockets. What is written into
them is late by as long as they take to empty, and no call here tells how full they are. So the terminal is asked behind
every frame where its cursor is, which it answers when it has drawn all that came before; and the next frame is drawn
when the last has arrived, from what holds then. Frames are left out, never queued.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["QUESTION", "Pace"]

QUESTION = "\x1b[6n"
"""Report the cursor's place (ECMA-48 DSR 6); every terminal that answers anything answers this."""

_ROOM = 1500
"""Bytes that may be on their way: what a line of 100 kbit/s takes 0.12 s for."""
_PATIENCE_S = 5.0
_MOST_PATIENCE_S = 60.0
_LOST_S = 20.0
"""After this, and with others behind it, an answer will not come any more."""
_TRIES = 8
"""Questions after which a terminal that answered none is asked no more."""


class Pace:
    """Counts what was sent and what was answered. Used by two threads, under a lock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._on_the_way: deque[tuple[int, float]] = deque()
        self._patience_s = _PATIENCE_S
        self._asked = 0
        self._owed: deque[float] = deque()
        self.answers = False
        """Whether this terminal answers. One that does not is never waited for."""

    @property
    def should_ask(self) -> bool:
        """Whether the next frame should end with `QUESTION`."""
        return self.answers or self._asked < _TRIES

    def sent(self, size: int, now_s: float) -> None:
        """A frame of `size` bytes that ends with `QUESTION` was sent."""
        with self._changed:
            self._asked += 1
            self._owed.append(now_s)
            while now_s - self._owed[0] > _LOST_S:
                self._owed.popleft()
            self._on_the_way.append((size, now_s))

    def answered(self) -> None:
        """The oldest frame on its way has arrived."""
        with self._changed:
            self.answers = True
            if self._owed:
                self._owed.popleft()
            self._patience_s = _PATIENCE_S
            if self._on_the_way:
                self._on_the_way.popleft()
            self._changed.notify_all()

    def wait_s(self, now_s: float) -> float:
        """Seconds after which to ask again whether a frame may be sent; 0.0 if now. An answer may come before."""
        with self._changed:
            if not self.answers or sum(size for size, _ in self._on_the_way) < _ROOM:
                return 0.0
            left_s = self._on_the_way[0][1] + self._patience_s - now_s
            if left_s > 0:
                return left_s
            # An answer was lost, or somebody stopped the terminal: a frame now and then finds out which.
            self._on_the_way.clear()
            self._patience_s = min(self._patience_s * 2, _MOST_PATIENCE_S)
            return 0.0

    def forget(self) -> None:
        """Nothing is on its way any more, as far as the next frame is concerned."""
        with self._changed:
            self._on_the_way.clear()

    def lost(self) -> None:
        """There is no terminal any more; nobody answers."""
        with self._changed:
            self._on_the_way.clear()
            self._owed.clear()
            self._changed.notify_all()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due, or came so late that it was no longer counted upon."""
        return bool(self._owed)

    def wait_for_answers(self, patience_s: float, first_s: float) -> None:
        """Wait until all has arrived: an answer that comes later would be typed into what runs next.

        A terminal that has never answered is waited for no longer than `first_s`.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._owed, patience_s if self.answers else min(first_s, patience_s))
