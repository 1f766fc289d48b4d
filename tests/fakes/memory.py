"""llama.cpp's memory without llama.cpp: every cell is an object, so that who shares which can be seen."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from corral.runtime.engine.computed import Computed
from corral.runtime.engine.context import Batch, Decoded
from corral.runtime.engine.llama import MemoryKind
from corral.runtime.engine.prefix import PrefixTree

WINDOW: Final = 12
_NOTHING: Final = 7


def _after(past: int, token: int) -> int:
    return hash((past, token))


def pasts(tokens: Sequence[int]) -> list[int]:
    """Return for each token what stands for it and all that came before it."""
    return list(accumulate(tokens, _after, initial=_NOTHING))[1:]


class Cell:
    """A token's key and value: where it stands, what it was computed after, and the sequences that share it."""

    __slots__ = ("past", "position", "slots")

    def __init__(self, past: int, position: int) -> None:
        self.past = past
        self.position = position
        self.slots: set[int] = set()


class FakeMemory:
    """What the loop uses of a `Context`, for each way of remembering: "full", "whole window", "cut window",
    "recurrent", "hybrid".

    It does what llama.cpp may do at worst: a window loses its old cells as soon as it may (`forgets` is how often), and
    a step that is broken off leaves part of what it computed. What llama.cpp would do wrong without a word fails here.
    """

    def __init__(
        self, kind: str, num_cells: int, num_sequences: int, num_spare: int, chance: Random, forgets: float = 0.1
    ) -> None:
        self.window = WINDOW if "window" in kind else 0
        self._attends = kind != "recurrent"
        self.copies_whole = kind in {"recurrent", "hybrid"}
        self.shares = kind == "full"
        self.copies = kind in {"full", "whole window"}
        self.most_kept: int | None = None
        self.most_threads = 0
        self.kind = (
            MemoryKind.RECURRENT if self.copies_whole else MemoryKind.SLIDING if self.window else MemoryKind.FULL
        )
        self.can_shift = not self.window
        self.num_cells = num_cells
        self.num_slots = num_sequences + (0 if kind == "cut window" else num_spare)
        self.num_batch = 64
        self.used = 0
        self.next_outcome = Decoded.OK
        self._chance = chance
        self._forgets = forgets
        self._cells: list[list[Cell]] = [[] for _ in range(self.num_slots)]
        self._states: list[tuple[int, int]] = [(0, _NOTHING)] * self.num_slots
        self._oldest = [0] * self.num_slots

    def allow(self) -> None:
        """Nothing is aborted from outside here."""

    def length(self, slot: int) -> int:
        """Return how many tokens a sequence holds."""
        return len(self._cells[slot]) if self._attends else self._states[slot][0]

    def holds(self, slot: int, tokens: Sequence[int]) -> bool:
        """Say whether a sequence holds these tokens, each as computed after those before it."""
        expected = pasts(tokens)
        if self.copies_whole and self._states[slot] != (len(tokens), expected[-1] if tokens else _NOTHING):
            return False
        return not self._attends or [cell.past for cell in self._cells[slot]] == expected

    def is_in_order(self, slot: int) -> bool:
        """Say whether a sequence's cells have the positions they should, and know that they are its."""
        return all(cell.position == at and slot in cell.slots for at, cell in enumerate(self._cells[slot]))

    def decode(self, batch: Batch) -> Decoded:
        outcome, self.next_outcome = self.next_outcome, Decoded.OK
        size = batch.size if outcome is Decoded.OK else self._chance.randint(0, batch.size)
        slots = batch._slots[: batch.size]
        for token, position, slot in zip(batch._tokens[:size], batch._positions[:size], slots, strict=False):
            self._compute(slot, token, position)
        if outcome is not Decoded.OK and self.copies_whole:
            for slot in set(slots):
                self._states[slot] = (0, _NOTHING)
            self._states[self._chance.randrange(self.num_slots)] = (0, _NOTHING)
        if self.kind is MemoryKind.SLIDING:
            for slot, cells in enumerate(self._cells):
                if self._chance.random() < self._forgets:
                    self.lose(slot, len(cells) - self.window + 1)
        return outcome

    def lose(self, slot: int, count: int) -> None:
        """Have a window's first `count` cells taken by others."""
        self._oldest[slot] = max(self._oldest[slot], count)

    def forget(self, slot: int) -> None:
        self._cut(slot, 0)
        self._states[slot] = (0, _NOTHING)

    def cut(self, slot: int, length: int) -> bool:
        if not self.copies_whole:
            self._cut(slot, length)
        exact = self.covers(slot, length)
        if not exact:
            self.forget(slot)
        return exact

    def covers(self, slot: int, length: int) -> bool:
        if self.copies_whole and self._states[slot][0] != length:
            return False
        return self.length(slot) == length and self.reaches(slot, length)

    def reaches(self, slot: int, length: int) -> bool:
        return self._oldest[slot] <= max(0, length - self.window + 1)

    def adopt(self, source: int, target: int, length: int) -> None:
        assert self.shares
        assert len(self._cells[source]) >= length
        assert len(self._cells[target]) >= length
        for at in range(length):
            self._drop(self._cells[target][at], target)
            self._cells[target][at] = self._cells[source][at]
            self._cells[target][at].slots.add(target)

    def copy(self, source: int, target: int, length: int) -> bool:
        assert self.copies or self.copies_whole
        assert self.length(target) == 0
        assert source != target
        for cell in self._cells[source][:length]:
            cell.slots.add(target)
            self._cells[target].append(cell)
        self._states[target] = self._states[source]
        self._oldest[target] = self._oldest[source]
        if self.covers(target, length):
            return True
        self.forget(target)
        return False

    def own(self, slot: int) -> bool:
        state = self.state(slot)
        self.forget(slot)
        return self.restore(slot, state)

    def shift(self, slot: int, start: int, count: int) -> bool:
        assert self.can_shift
        for cell in self._cells[slot][start : start + count]:
            self._drop(cell, slot)
        del self._cells[slot][start : start + count]
        for cell in self._cells[slot][start:]:
            cell.position -= count  # for all who share it
        length, past = self._states[slot]
        self._states[slot] = (length - count if self.copies_whole else 0, past)
        return True

    def state_bytes(self, slot: int) -> int:
        return len(self.state(slot))

    def state(self, slot: int) -> memoryview:
        cells = [cell.past for cell in self._cells[slot]]
        return memoryview(array("q", [self._oldest[slot], *self._states[slot], *cells])).cast("B")

    def restore(self, slot: int, state: bytes | memoryview) -> bool:
        assert self.length(slot) == 0
        oldest, length, past, *cells = memoryview(state).cast("B").cast("q").tolist()
        if self.used + len(cells) > self.num_cells:
            return False
        for one in cells:
            self._add(slot, one)
        self._states[slot] = (length, past)
        self._oldest[slot] = oldest
        return True

    def _compute(self, slot: int, token: int, position: int) -> None:
        assert position == self.length(slot), "computed out of turn"
        assert self._oldest[slot] <= max(0, position - self.window + 1), "looks at what is gone"
        cells = self._cells[slot]
        past = self._states[slot][1] if self.copies_whole else cells[-1].past if cells else _NOTHING
        if self.copies_whole:
            assert self._states[slot][0] == position
            self._states[slot] = (position + 1, _after(past, token))
        if self._attends:
            self._add(slot, _after(past, token))
        assert self.used <= self.num_cells, "no cell is left"

    def _add(self, slot: int, past: int) -> None:
        cell = Cell(past, len(self._cells[slot]))
        cell.slots.add(slot)
        self._cells[slot].append(cell)
        self.used += 1

    def _cut(self, slot: int, length: int) -> None:
        for cell in self._cells[slot][length:]:
            self._drop(cell, slot)
        del self._cells[slot][length:]
        if not length:
            self._oldest[slot] = 0

    def _drop(self, cell: Cell, slot: int) -> None:
        cell.slots.remove(slot)
        self.used -= not cell.slots


class FakeShelf:
    """A `Shelf` without a disk that writes at once."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._tree = PrefixTree(shares=True)
        self._kept: dict[int, Computed] = {}
        self._next = 0
        self.taken = 0

    @property
    def held(self) -> tuple[int, int]:
        return len(self._kept), 0

    def match(self, prompt: list[int]) -> tuple[int, int]:
        length, numbers = self._tree.longest_end(prompt)
        if not self._whole:
            length, node = self._tree.match(prompt)
            numbers = frozenset(node.slots)
        return (length, max(numbers)) if length and numbers else (0, -1)

    def take(self, number: int) -> Computed | None:
        self.taken += 1
        return self._kept[number]

    def drop(self, number: int) -> None:
        self._tree.remove(number)
        self._kept.pop(number, None)

    def put(self, computed: Computed) -> bool:
        if self.match(computed.tokens)[0] == len(computed.tokens):
            return False
        self._tree.put(self._next, computed.tokens)
        self._kept[self._next] = Computed(list(computed.tokens), bytes(computed.state))
        self._next += 1
        while len(self._kept) > 12:
            self.drop(next(iter(self._kept)))
        return True

    put_soon = put
