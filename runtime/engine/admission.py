"""Giving a request its llama.cpp sequence and its cells, with as much of its prompt as is already computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corral.runtime.engine.cells import Cells
from corral.runtime.engine.context import Context
from corral.runtime.engine.llama import MemoryKind
from corral.runtime.engine.prefix import PrefixCache, common_length
from corral.runtime.engine.sequence import Request, Sequence

_WORTH_WAITING: Final = 32
"""Tokens a prompt must still share with one being computed to wait for it instead of computing them again."""

_COMPUTED_TAIL: Final = 2
"""How many of a prompt's tokens are always computed. The last one's logits are needed; and llama.cpp computes a batch
of one token with other kernels than a larger one (logits of SmolLM2 at Q4_1 differ by 0.5), so that a lone last token
would make a cached prompt answer otherwise than a fresh one."""


class Slots:
    """Which llama.cpp sequence serves whom; belongs to the loop's thread."""

    def __init__(self, context: Context, most_running: int) -> None:
        self._context = context
        self._most_running = most_running
        self._free = list(range(context.num_slots - 1, -1, -1))
        self.cells = Cells(context.num_cells)
        self.cache = PrefixCache()

    def can_admit(self, request: Request, running: Iterable[Sequence]) -> bool:
        """Say whether a request can start: everything that is only cached counts as free."""
        reserved = count = 0
        for sequence in running:
            reserved += self.cells.held(sequence.slot)
            count += 1
        return count < self._most_running and reserved + request.cells <= self.cells.total

    def admit(self, request: Request, running: Iterable[Sequence]) -> tuple[int, int, Sequence | None, int]:
        """Give a request its slot; ask `can_admit` before.

        Returns the slot, how many tokens it already holds, and the running sequence that is computing more of the
        same beginning with how much of it is shared.
        """
        usable = len(request.tokens) - _COMPUTED_TAIL
        cached = self.cache.best(request.tokens[:usable])
        leader, shared = self._leader(request.tokens[:usable], running)
        if leader is not None and (
            cached is None or leader.computed >= cached[1] or shared - cached[1] > _WORTH_WAITING
        ):
            slot = self._empty_slot(request.cells)
            ready = min(shared, leader.computed)
            held = ready if ready and self._context.copy(leader.slot, slot, ready) else 0
            return slot, held, leader if shared - held > _WORTH_WAITING else None, shared
        if cached is not None:
            slot, held = self._reuse(request, *cached)
            return slot, held, None, 0
        return self._empty_slot(request.cells), 0, None, 0

    def finish(self, sequence: Sequence) -> None:
        """Keep a sequence's computed tokens as cache, where they are what anybody would compute."""
        if sequence.computed and not sequence.shifted:
            self.cells.hold(sequence.slot, sequence.computed)
            self.cache.keep(sequence.slot, sequence.tokens[: sequence.computed])
        else:
            self._release(sequence.slot)

    def evict_one(self, besides: int | None = None) -> bool:
        """Give up the least recently used cached sequence; False where there is none."""
        slot = self.cache.oldest(besides)
        if slot is None:
            return False
        self.cache.drop(slot)
        self._release(slot)
        return True

    def clear(self, sequence: Sequence) -> None:
        """Throw away a sequence and what it computed."""
        self._release(sequence.slot)

    def _leader(self, prompt: list[int], running: Iterable[Sequence]) -> tuple[Sequence | None, int]:
        """Return the running sequence with the longest beginning in common, where one can be shared."""
        best, length = None, 0
        if self._context.copies:
            for sequence in running:
                shared = common_length(sequence.tokens, prompt)
                if sequence.leader is None and not sequence.shifted and shared > length:
                    best, length = sequence, shared
        return best, length

    def _reuse(self, request: Request, source: int, length: int) -> tuple[int, int]:
        """Continue or share a cached sequence; falls back to an empty slot where that would not be exact."""
        whole = length == self.cache.length(source)
        if not whole and self._context.copies and self._make_room(request.cells, besides=source):
            self.cache.touch(source)
            slot = self._free.pop()
            self.cells.hold(slot, request.cells)
            return slot, length if self._context.copy(source, slot, length) else 0
        if not whole and self._context.kind is MemoryKind.RECURRENT:
            return self._empty_slot(request.cells), 0
        while not self.cells.can_hold(source, request.cells):
            self.evict_one(besides=source)
        self.cache.drop(source)
        self.cells.hold(source, request.cells)
        return source, length if self._context.cut(source, length) else 0

    def _empty_slot(self, count: int) -> int:
        assert self._make_room(count)
        slot = self._free.pop()
        self.cells.hold(slot, count)
        return slot

    def _make_room(self, count: int, besides: int | None = None) -> bool:
        """Evict until a slot and `count` cells are free; False where `besides` alone is in the way."""
        while not self._free or count > self.cells.free:
            if not self.evict_one(besides):
                return False
        return True

    def _release(self, slot: int) -> None:
        self._context.forget(slot)
        self.cells.release(slot)
        self._free.append(slot)
