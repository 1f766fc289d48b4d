"""KV accounting: how many cells each llama.cpp sequence may come to use.

A running sequence holds its whole reservation from the start, so it can never run out; a finished one holds what it
filled. Cells that sequences share are counted for each of them: too many rather than too few.
"""

from __future__ import annotations


class Cells:
    """Counts cells by slot (a llama.cpp sequence id); belongs to the loop's thread."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held: dict[int, int] = {}
        self._used = 0

    @property
    def free(self) -> int:
        """Return how many cells nobody holds."""
        return self.total - self._used

    def held(self, slot: int) -> int:
        """Return how many cells a slot holds."""
        return self._held.get(slot, 0)

    def can_hold(self, slot: int, count: int) -> bool:
        """Say whether a slot could hold `count` cells instead of what it holds now."""
        return count <= self.free + self.held(slot)

    def hold(self, slot: int, count: int) -> None:
        """Let a slot hold `count` cells; ask `can_hold` before."""
        assert self.can_hold(slot, count), (slot, count, self.free)
        self._used += count - self._held.get(slot, 0)
        self._held[slot] = count

    def release(self, slot: int) -> None:
        """Take back what a slot holds."""
        self._used -= self._held.pop(slot, 0)
