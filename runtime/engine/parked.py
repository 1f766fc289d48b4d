"""Computed sequences that left llama.cpp's cache, in main memory: out of the way there, and soon back.

On a processor every cell in use costs every token of every stream, for llama.cpp looks at all of them (SmolLM2: a fifth
of a stream's speed for 7,000 cells). To move a sequence out and in again costs milliseconds, to compute it seconds.
"""

from __future__ import annotations

from typing import Final

import psutil

from corral.runtime.engine.computed import Computed, SequenceIndex
from corral.runtime.engine.shelf import Shelf

_MOST_BYTES: Final = 2 * 1024**3
_SHARE: Final = 8
_WORTH_WRITING: Final = 512
"""Tokens of a sequence that goes to disk when there is no more room for it here."""


def affordable_bytes() -> int:
    """Return how much main memory parked sequences may take: an eighth of what is free now, within reason."""
    return min(_MOST_BYTES, int(psutil.virtual_memory().available) // _SHARE)


class Parked:
    """The sequences in main memory, with those on a shelf behind them. Belongs to the loop's thread.

    `whole` says that a sequence can only be gone on with at its end. A sequence on the shelf has a number below 0.
    """

    def __init__(self, most_bytes: int, shelf: Shelf | None, *, whole: bool) -> None:
        self._most_bytes = most_bytes
        self._whole = whole
        self._shelf = shelf
        self._index: SequenceIndex[Computed] = SequenceIndex(whole=whole)
        self._bytes = 0

    @property
    def parked(self) -> tuple[int, int]:
        """Return how many sequences are in main memory, and how many bytes they take."""
        return len(self._index.items), self._bytes

    @property
    def shelved(self) -> tuple[int, int]:
        """Return how many sequences of this model are on disk, and how many bytes they take."""
        return self._shelf.held if self._shelf is not None else (0, 0)

    def match(self, prompt: list[int]) -> tuple[int, int]:
        """Return how much of a prompt's beginning is here and can be used, and the number of a sequence with it.

        The length is 0 where there is none.
        """
        best = self._index.match(prompt)
        if self._shelf is not None:
            on_disk, number = self._shelf.match(prompt)
            if on_disk > best[0]:
                return on_disk, -1 - number
        return best if best[0] else (0, 0)

    def take(self, number: int) -> Computed | None:
        """Return a sequence, which is here no longer unless it is on disk; None where it is damaged."""
        if number < 0:
            assert self._shelf is not None
            return self._shelf.take(-1 - number)
        return self._remove(number)

    def drop(self, number: int) -> None:
        """Forget a sequence that was taken and proved to be of no use."""
        if number < 0 and self._shelf is not None:
            self._shelf.drop(-1 - number)

    def holds(self, tokens: list[int]) -> bool:
        """Say whether all of a sequence is in main memory."""
        return self._index.match(tokens)[0] == len(tokens)

    def wants(self, tokens: list[int], least: int) -> bool:
        """Say whether a sequence is worth its room here.

        Of several with one beginning only the first is, unless another would save at least `least` tokens more or takes
        the place of its own beginning.
        """
        length = self._index.match(tokens)[0]
        if length == len(tokens):
            return False
        return self._whole or len(tokens) - length >= least or bool(self._index.superseded(tokens))

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes can be put here without anything having to go."""
        return self._bytes + size <= self._most_bytes

    def put(self, computed: Computed) -> None:
        """Park a sequence; those it goes on from are no longer needed where any beginning of it can be used."""
        if self.holds(computed.tokens):
            return
        for number in self._index.superseded(computed.tokens):
            self._remove(number)
        self._index.add(computed.tokens, computed)
        self._bytes += len(computed.state)
        while self._bytes > self._most_bytes:
            oldest = self._remove(next(iter(self._index.items)))
            if self._shelf is not None and len(oldest.tokens) >= _WORTH_WRITING:
                self._shelf.put_soon(oldest)

    def newest_first(self) -> list[Computed]:
        """Return what is parked."""
        return list(reversed(self._index.items.values()))

    def _remove(self, number: int) -> Computed:
        computed = self._index.remove(number)
        assert computed is not None
        self._bytes -= len(computed.state)
        return computed
