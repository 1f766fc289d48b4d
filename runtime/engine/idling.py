"""How long the loop waits for something to do; what is left of its time is work."""

from __future__ import annotations

import queue
import time
from typing import Generic, TypeVar

T = TypeVar("T")


class Idling(Generic[T]):
    """Takes from a queue and adds up the waits; belongs to the thread that takes."""

    def __init__(self, commands: queue.Queue[T]) -> None:
        self._commands = commands
        self._began_ns = time.monotonic_ns()
        self._idle_ns = 0

    def get(self) -> T:
        """Return the next item, after waiting for it where there is none."""
        began = time.monotonic_ns()
        command = self._commands.get()
        self._idle_ns += time.monotonic_ns() - began
        return command

    def get_within(self, seconds: float) -> T | None:
        """Return the next item, or None where none comes in time."""
        began = time.monotonic_ns()
        try:
            return self._commands.get(timeout=seconds)
        except queue.Empty:
            return None
        finally:
            self._idle_ns += time.monotonic_ns() - began

    def busy_ns(self) -> int:
        """Return how long its thread did something else than wait here, in nanoseconds."""
        return time.monotonic_ns() - self._began_ns - self._idle_ns
