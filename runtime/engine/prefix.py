"""Finished sequences kept as cache: which of them begins like a new prompt, and which goes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


class PrefixCache:
    """The finished sequences by slot, least recently used first; belongs to the loop's thread."""

    def __init__(self) -> None:
        self._entries: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def tokens(self) -> int:
        """Return how many tokens are kept in all."""
        return sum(map(len, self._entries.values()))

    def kept(self) -> Iterable[list[int]]:
        """Return the tokens of every slot."""
        return self._entries.values()

    def keep(self, slot: int, tokens: list[int]) -> None:
        """Remember that a slot's cells hold these tokens."""
        self._entries.pop(slot, None)
        self._entries[slot] = tokens

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        self._entries.pop(slot, None)

    def touch(self, slot: int) -> None:
        """Make a slot the most recently used one."""
        self._entries[slot] = self._entries.pop(slot)

    def length(self, slot: int) -> int:
        """Return how many tokens a slot's cells hold."""
        return len(self._entries[slot])

    def oldest(self, besides: int | None = None) -> int | None:
        """Return the least recently used slot other than `besides`."""
        return next((slot for slot in self._entries if slot != besides), None)

    def best(self, prompt: Sequence[int]) -> tuple[int, int] | None:
        """Return the slot with the longest beginning in common with a prompt, and its length.

        Of equal ones the most recently used. None where nothing is in common.
        """
        found: tuple[int, int] | None = None
        for slot, tokens in self._entries.items():
            length = common_length(tokens, prompt)
            if length and (found is None or length >= found[1]):
                found = slot, length
        return found
