"""KV accounting: how many cells are filled, and how many each running sequence may still come to use.

A running sequence reserves what it may need from the start, so it can never run out. What is computed and settled
stands in the prefix tree, where cells that several sequences share count once.
"""

from __future__ import annotations

from collections.abc import Iterable

from corral.runtime.engine.prefix import PrefixTree


class Cells:
    """Counts cells; belongs to the loop's thread."""

    def __init__(self, total: int, tree: PrefixTree) -> None:
        self.total = total
        self._tree = tree
        self._reserved: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Return how many cells are neither filled nor reserved."""
        return self.total - self._tree.cells - self.reserved

    @property
    def reserved(self) -> int:
        """Return how many cells running sequences may use beyond what they hold in the tree."""
        return sum(self._reserved.values())

    def reserved_by(self, slots: Iterable[int]) -> int:
        """Return how many of them some slots have."""
        return sum(self._reserved.get(slot, 0) for slot in slots)

    def reserve(self, slot: int, count: int) -> None:
        """Let a slot come to use `count` cells beyond what it holds in the tree, instead of what it might before."""
        self._reserved[slot] = count

    def release(self, slot: int) -> None:
        """Take back what a slot has reserved."""
        self._reserved.pop(slot, None)
