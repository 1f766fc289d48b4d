"""Giving a request its llama.cpp sequence and its cells, with as much of its prompt as is already computed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Final

from corral.runtime.engine.cells import Cells
from corral.runtime.engine.computed import Computed
from corral.runtime.engine.context import Context
from corral.runtime.engine.parked import Parked, affordable_bytes
from corral.runtime.engine.prefix import PrefixTree, common_length
from corral.runtime.engine.protocol import CacheUse
from corral.runtime.engine.sequence import Request, Sequence
from corral.runtime.engine.shelf import Shelf

_WORTH_WAITING: Final = 32
"""Tokens a prompt must still share with one being computed to wait for it instead of computing them again."""

_WORTH_KEEPING: Final = 64
"""Tokens that a checkpoint, or a sequence that is no longer in the cache, must save computing."""

_BEFORE_THE_END: Final = 16
"""How far before a prompt's end its checkpoint lies: a chat's next turn may part from it in the last few tokens."""

_COPIED_AHEAD_BYTES: Final = 32 * 1024**2
"""The largest state that is copied before it must be. To touch that much memory for the first time takes up to a
twentieth of a second; a model whose states are larger takes so long for a prompt that it is not noticed."""

_COMPUTED_TAIL: Final = 2
"""How many of a prompt's tokens are always computed. The last one's logits are needed; and llama.cpp computes a batch
of one token with other kernels than a larger one (logits of SmolLM2 at Q4_1 differ by 0.5), so that a lone last token
would make a cached prompt answer otherwise than a fresh one."""


class Slots:
    """Which llama.cpp sequence serves whom, and which are kept; belongs to the loop's thread.

    Where any beginning can be copied (`Context.copies`), running sequences stand in the tree with what they share or
    could share: they are settled so far. Of the other kinds of memory only kept sequences stand in it. Cells count
    once for all who share them only where they are sure to stay shared (`Context.shares`).
    """

    def __init__(self, context: Context, most_running: int, shelf: Shelf | None = None) -> None:
        self._context = context
        self._shelf = shelf
        self._parked = Parked(affordable_bytes(), shelf, whole=not context.shares)
        self._most_running = min(most_running, context.num_slots)
        self._free = list(range(context.num_slots - 1, -1, -1))
        self._kept: dict[int, None] = {}  # least recently used first
        self.tree = PrefixTree(shares=context.shares)
        self.cells = Cells(context.num_cells, self.tree)

    @property
    def kept(self) -> tuple[int, ...]:
        """Return the sequences that nobody runs, least recently used first."""
        return tuple(self._kept)

    def used(self, running: list[Sequence]) -> int:
        """Return how many cells are filled."""
        beyond = sum(one.computed - self.tree.length(one.slot) for one in running)
        return min(self.cells.total, self.tree.cells + beyond)

    def cache_use(self, running: list[Sequence]) -> CacheUse:
        """Return what is kept of those who have ended, and where."""
        in_use = self.tree.cells_of([one.slot for one in running if one.slot in self.tree])
        return CacheUse(self.tree.cells - in_use, len(self._kept), *self._parked.parked, *self._parked.shelved)

    def can_admit(self, request: Request, running: list[Sequence]) -> bool:
        """Say whether a request can start: everything that is only kept counts as free."""
        if len(running) >= self._most_running:
            return False
        apart = [one.request.cells for one in running if one.request.may_shift]  # after a shift they share nothing
        slots = [one.slot for one in running if not one.request.may_shift]
        promised = sum(apart) + self.tree.cells_of(slots) + self.cells.reserved_by(slots)
        needed = request.cells - (0 if request.may_shift else self._shared_with(slots, request))
        return promised + needed <= self.cells.total

    def admit(self, request: Request, running: list[Sequence]) -> tuple[int, int, Sequence | None, int]:
        """Give a request its slot; ask `can_admit` before.

        Returns the slot, how many tokens it already holds, and the running sequence that is computing more of the
        same beginning with how much of it is shared.
        """
        usable = request.tokens[: len(request.tokens) - _COMPUTED_TAIL]
        leader, shared = self._leader(usable, running)
        shared = request.whole(shared)
        if leader is not None:
            self._settle(leader, min(shared, leader.computed))
        self._fetch(usable, running)
        length, source = self._source(usable, request)
        slot, held = self._begin(request, length, source)
        self._thin_out([slot, *(one.slot for one in running)])
        if leader is None or leader.paused or shared - held <= _WORTH_WAITING:
            return slot, held, None, 0
        if self._context.copies_whole:
            leader.stop_at(shared)
        return slot, held, leader, shared

    def checkpoints(self, request: Request, held: int) -> list[int]:
        """Return where a prompt's computation is to rest for a checkpoint: memory that cannot be cut is kept there."""
        if not self._context.copies_whole:
            return []
        branch, _ = self.tree.match(request.tokens)
        places = {branch, len(request.tokens) - _COMPUTED_TAIL - _BEFORE_THE_END}
        last = len(request.tokens) - _COMPUTED_TAIL
        return sorted(place for place in map(request.whole, places) if held + _WORTH_KEEPING <= place <= last)

    def join(self, sequence: Sequence, leader: Sequence) -> None:
        """Share what the leader has computed of the common beginning, and wait no more."""
        length = min(sequence.shared, leader.computed)
        sequence.leader = None
        if length > sequence.computed:
            self._settle(leader, length)
            self._context.forget(sequence.slot)
            self.tree.remove(sequence.slot)
            sequence.computed = length if self._context.copy(leader.slot, sequence.slot, length) else 0
            self._hold(sequence.slot, sequence.request, sequence.computed)
        sequence.cached = sequence.computed

    def checkpoint(self, sequence: Sequence) -> None:
        """Keep a running sequence as it is now, where there is room."""
        tokens = sequence.tokens[: sequence.computed]
        length, ends = self.tree.longest_end(tokens)
        if length == len(tokens):
            self._touch(next(iter(ends)))
        elif self._make_room(len(tokens)):
            slot = self._free.pop()
            if self._context.copy(sequence.slot, slot, len(tokens)):
                self._keep(slot, tokens)
            else:
                self._free.append(slot)

    def finish(self, sequence: Sequence) -> None:
        """Keep a sequence's computed tokens, where they are what anybody would compute and nobody else holds them."""
        slot, tokens = sequence.slot, sequence.tokens[: sequence.computed]
        if not tokens or sequence.shifted:
            self._release(slot)
            return
        self._settle(sequence, len(tokens))
        length, others = self._holders(tokens)
        redundant = others & self._kept.keys() if length == len(tokens) else None
        if redundant:
            self._release(slot)
            self._touch(redundant.pop())
        else:
            self.cells.release(slot)
            self._keep(slot, tokens)

    def unsettle(self, sequence: Sequence, length: int, moved: int) -> bool:
        """Take a sequence out of the tree behind its first `length` tokens; what it computed there is to change.

        Returns whether its cells from `moved` on are to move but may be shared: then there is room for its own, and
        it is out of the tree as a whole.
        """
        # The tree does not know which checkpoints share cells with a sequence whose memory is copied as a whole.
        shared = self._context.copies_whole or self.tree.shared_beyond(sequence.slot, moved)
        shared = shared and self._context.can_shift
        length = 0 if shared else length
        if self.tree.length(sequence.slot) > length:
            self._hold(sequence.slot, sequence.request, length)
            self._give_way()
        return shared

    def restart(self, sequence: Sequence) -> None:
        """Have a sequence whose memory was lost computed again."""
        sequence.restart()
        self.tree.remove(sequence.slot)
        self._hold(sequence.slot, sequence.request, 0)

    def distrust(self, running: list[Sequence]) -> None:
        """Give up everything that is computed: a step that failed may have spoilt any of it."""
        for slot in self.kept:
            self._release(slot)
        for sequence in running:
            self._context.forget(sequence.slot)
            self.restart(sequence)

    def evict_one(self, besides: int | None = None) -> bool:
        """Move the least recently used sequence that is only kept out of the cache; False where there is none."""
        slot = next((slot for slot in self._kept if slot != besides), None)
        if slot is None:
            return False
        self._park(slot)
        self._release(slot)
        return True

    def copy_ahead(self) -> bool:
        """Copy one sequence to main memory that the next request will move out of the cache unless it goes on from it.

        False where there is none. It stays where it is: to forget it then takes no time.
        """
        most = self._context.most_kept
        staying = list(self._kept)
        # What several hold goes only with the last of them.
        while most is not None and staying and self.tree.cells_of(staying) > most:
            slot = staying.pop(0)
            tokens = self.tree.tokens(slot)
            if not self._is_worth_parking(tokens):
                continue
            size = self._context.state_bytes(slot)
            if size <= _COPIED_AHEAD_BYTES and self._parked.has_room(size):
                self._park(slot)
                return self._parked.holds(tokens)
        return False

    def put_away(self, until_s: float) -> None:
        """Write to disk what is computed, the last used first, until that time of the monotonic clock."""
        if self._shelf is None:
            return
        kept = (self._computed(slot) for slot in reversed(self._kept))
        for computed in itertools.chain(kept, self._parked.newest_first()):
            if time.monotonic() > until_s:
                break
            if computed is not None:
                self._shelf.put(computed)

    def clear(self, sequence: Sequence) -> None:
        """Throw away a sequence and what it computed."""
        self._release(sequence.slot)

    def _fetch(self, prompt: list[int], running: list[Sequence]) -> None:
        """Bring back a sequence that has clearly more of a prompt's beginning than any in the cache."""
        length, number = self._parked.match(prompt)
        if length < self._holders(prompt)[0] + _WORTH_KEEPING or (computed := self._parked.take(number)) is None:
            return
        kept = self.tree.cells - self.tree.cells_of([one.slot for one in running if one.slot in self.tree])
        if len(computed.tokens) > self.cells.free + kept or not self._make_room(len(computed.tokens)):
            return
        slot = self._free.pop()
        if self._context.restore(slot, computed.state) and self._context.covers(slot, len(computed.tokens)):
            self._share_known(slot, computed.tokens, 0)
            self._keep(slot, computed.tokens)
        else:
            self._context.forget(slot)
            self._free.append(slot)
            self._parked.drop(number)

    def _thin_out(self, running: list[int]) -> None:
        """Move kept sequences out of the cache where they slow down those that run."""
        most = self._context.most_kept
        while most is not None and self._kept:
            in_use = self.tree.cells_of([slot for slot in running if slot in self.tree])
            if self.tree.cells - in_use <= most:
                break
            self.evict_one()

    def _park(self, slot: int) -> None:
        """Put a kept sequence that is to go into main memory, if it is worth it."""
        if self._is_worth_parking(self.tree.tokens(slot)) and (computed := self._computed(slot)):
            self._parked.put(computed)

    def _is_worth_parking(self, tokens: list[int]) -> bool:
        return len(tokens) >= _WORTH_KEEPING and self._parked.wants(tokens, _WORTH_KEEPING)

    def _computed(self, slot: int) -> Computed | None:
        """Return a kept sequence with its state; None where it is too short to be worth it."""
        tokens = self.tree.tokens(slot)
        state = self._context.state(slot) if len(tokens) >= _WORTH_KEEPING else None
        return None if state is None else Computed(tokens, state)

    def _shared_with(self, slots: list[int], request: Request) -> int:
        """Return how much of a prompt's beginning these slots hold, in cells that can be shared."""
        if not self._context.shares:
            return 0
        length, node = self.tree.match(request.tokens[: len(request.tokens) - _COMPUTED_TAIL])
        length = request.whole(length)
        return max((length for slot in slots if slot in node.slots), default=0)

    def _leader(self, prompt: list[int], running: Iterable[Sequence]) -> tuple[Sequence | None, int]:
        """Return the running sequence with the longest beginning in common, where one can be shared."""
        best, length = None, 0
        if not self._context.copies and not self._context.copies_whole:
            return None, 0
        for sequence in running:
            shared = common_length(sequence.tokens, prompt)
            if sequence.leader is not None or sequence.shifted or shared <= length:
                continue
            if self._context.copies or shared > sequence.computed + 1:
                best, length = sequence, shared
        return best, length

    def _source(self, prompt: list[int], request: Request) -> tuple[int, int | None]:
        """Return how much of a prompt can be taken from a sequence in the tree, and from which."""
        length, holders = self._holders(prompt)
        length = request.whole(length)
        slots = {slot for slot in holders if self._context.reaches(slot, length)}
        if not length or not slots:
            return 0, None
        recent = [slot for slot in self._kept if slot in slots]
        whole = [slot for slot in recent if self.tree.length(slot) == length]
        return length, (whole or recent or list(slots))[-1]

    def _holders(self, tokens: list[int]) -> tuple[int, set[int]]:
        """Return how much of a text's beginning can be had, and who has it."""
        if self._context.copies_whole:
            length, ends = self.tree.longest_end(tokens)
            return length, set(ends)
        length, node = self.tree.match(tokens)
        return length, set(node.slots)

    def _begin(self, request: Request, length: int, source: int | None) -> tuple[int, int]:
        """Share or go on with a sequence's first `length` tokens; an empty slot where that would not be exact."""
        if source is None:
            return self._empty_slot(request), 0
        whole = length == self.tree.length(source)
        # To go on at a kept one's end costs nothing to take back; a recurrent memory could not be.
        copies = not (whole and source in self._kept) if self._context.copies else self._context.copies_whole and whole
        if copies and self._make_room(0, besides=source):
            if length >= _WORTH_KEEPING:
                self._touch(source)
            slot = self._free.pop()
            held = length if self._context.copy(source, slot, length) else 0
            self._hold(slot, request, held)
            self._give_way()  # the source too: what is shared stays
            return slot, held
        if source not in self._kept or (self._context.copies_whole and not whole):
            return self._empty_slot(request), 0
        if not self._context.copies and not whole and length < _WORTH_KEEPING:
            return self._empty_slot(request), 0  # and the other's tokens stay
        return self._take_over(request, length, source)

    def _take_over(self, request: Request, length: int, source: int) -> tuple[int, int]:
        """Run a request on a kept sequence, cut to its first `length` tokens."""
        if length < self.tree.length(source):
            self._park(source)
        del self._kept[source]
        self.tree.remove(source)
        held = length if self._context.cut(source, length) else 0
        self._hold(source, request, held)
        self._give_way()
        return source, held

    def _give_way(self) -> None:
        """Evict what is in the way of cells that are reserved already; what may be admitted has room."""
        while self.cells.free < 0:
            assert self.evict_one()

    def _empty_slot(self, request: Request) -> int:
        assert self._make_room(request.cells)
        slot = self._free.pop()
        self._hold(slot, request, 0)
        return slot

    def _hold(self, slot: int, request: Request, length: int) -> None:
        """Note that a running sequence holds the first `length` tokens of its request and may come to need the rest."""
        settled = length if self._context.copies else 0
        if settled:
            self.tree.put(slot, request.tokens[:settled])
        else:
            self.tree.remove(slot)
        self.cells.reserve(slot, request.cells - settled)

    def _settle(self, sequence: Sequence, length: int) -> None:
        """Put what a running sequence has computed into the tree; of equal cells only the first ones stay."""
        settled = self.tree.length(sequence.slot)
        if not self._context.copies or length <= settled:
            return
        tokens = sequence.tokens[:length]
        self._share_known(sequence.slot, tokens, settled)
        self.tree.put(sequence.slot, tokens)
        self.cells.reserve(sequence.slot, sequence.request.cells - length)

    def _share_known(self, slot: int, tokens: list[int], settled: int) -> None:
        """Have a sequence with cells of its own behind `settled` tokens share those that the tree has already."""
        held, node = self.tree.match(tokens)
        if self._context.shares and held > settled:
            self._context.adopt(next(iter(node.slots)), slot, held)

    def _make_room(self, count: int, besides: int | None = None) -> bool:
        """Evict until a slot and `count` cells are free; False where `besides` alone is in the way."""
        while not self._free or count > self.cells.free:
            if not self.evict_one(besides):
                return False
        return True

    def _keep(self, slot: int, tokens: list[int]) -> None:
        self.tree.put(slot, tokens)
        self._kept[slot] = None

    def _touch(self, slot: int) -> None:
        """Make a kept slot the most recently used one."""
        if slot in self._kept:
            self._kept[slot] = self._kept.pop(slot)

    def _release(self, slot: int) -> None:
        self._context.forget(slot)
        self._kept.pop(slot, None)
        self.tree.remove(slot)
        self.cells.release(slot)
        self._free.append(slot)
