"""Computed sequences that are not in llama.cpp's cache, and the index that finds one by how a prompt begins."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from corral.runtime.engine.prefix import PrefixTree

T = TypeVar("T")


class Computed(NamedTuple):
    """A sequence: its tokens, and llama.cpp's state of them."""

    tokens: list[int]
    state: bytes | memoryview


class SequenceIndex(Generic[T]):
    """Sequences by numbers of their own, each with what stands for it, the oldest first.

    `whole` says that a sequence can only be gone on with at its end.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._tree = PrefixTree(shares=True)
        self._next = 0
        self.items: dict[int, T] = {}

    def match(self, prompt: list[int]) -> tuple[int, int]:
        """Return how much of a prompt's beginning is here and can be used, and the newest sequence with it.

        The length is 0 where there is none.
        """
        if self._whole:
            length, found = self._tree.longest_end(prompt)
        else:
            length, node = self._tree.match(prompt)
            found = frozenset(node.slots)
        return (length, max(found)) if length and found else (0, -1)

    def superseded(self, tokens: list[int]) -> list[int]:
        """Return the sequences that are beginnings of another, and not needed where any part of it can be used."""
        found: list[int] = []
        while not self._whole and tokens:
            length, ends = self._tree.longest_end(tokens)
            if not ends:
                break
            found += ends
            tokens = tokens[: max(0, length - 1)]
        return found

    def add(self, tokens: list[int], item: T) -> None:
        """Note a sequence."""
        self._tree.put(self._next, tokens)
        self.items[self._next] = item
        self._next += 1

    def remove(self, number: int) -> T | None:
        """Forget a sequence; returns what stood for it, None where it is not known."""
        self._tree.remove(number)
        return self.items.pop(number, None)
