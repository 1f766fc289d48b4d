"""A random walk through all that can happen to a runner's loop, with its books checked after each step."""

from __future__ import annotations

import queue
from collections.abc import Callable
from random import Random
from typing import Final, Protocol, cast

from corral.runtime.engine.chain import Sampler
from corral.runtime.engine.context import Context
from corral.runtime.engine.llama import Model
from corral.runtime.engine.loop import Command, Loop
from corral.runtime.engine.protocol import Cancel, FromRunner, Pause, Refused, Started, Step
from corral.runtime.engine.schedule import PromptBudget
from corral.runtime.engine.sequence import Request, Sequence
from corral.runtime.engine.shelf import Shelf
from tests.fakes.memory import FakeShelf

NUM_CELLS: Final = (96, 128, 192, 320)
NUM_CTX: Final = 96
NUM_SEQUENCES: Final = 4
END: Final = 2
LETTERS: Final = (259, 260, 261)
MOST_WAITING: Final = 3


class Memory(Protocol):
    """A memory that can be looked into."""

    shares: bool

    def cells_in_use(self) -> int | None:
        """Return how many cells are filled; None where that cannot be seen."""

    def check(self, slot: int, tokens: list[int], *, exact: bool) -> None:
        """Fail unless a sequence holds these tokens and no more; not `exact` means that it saw others besides."""


class DrawnSampler(Sampler):
    """Draws as it is told."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw

    def sample(self, context: Context, index: int) -> int:
        return self._draw(index)

    def close(self) -> None:
        """There is no chain."""


class DrawnBudget(PromptBudget):
    """Lets prompts have any number of tokens a step."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def tokens(self, generating: int, *, young: bool = False) -> int:
        return self._chance.choice((2, 3, 5, 9, 20, 60))

    def observe(self, prompt_tokens: int, generating: int, elapsed_ns: int) -> None:
        """Nothing is learnt."""


class Walk:
    """Drives a `Loop` by hand. `on_draw` is called with a sequence whose logits are computed, and their index."""

    def __init__(self, model: Model, context: Context, memory: Memory, chance: Random) -> None:
        self.chance = chance
        self.memory = memory
        self.shelf = FakeShelf(whole=not context.copies)
        self.on_draw: Callable[[Sequence, int], None] = lambda _sequence, _index: None
        self.break_off: Callable[[], None] = lambda: None
        self.seen = dict.fromkeys(
            ("started", "reused", "finished", "refused", "shifted", "steps", "drawn", "compared", "fetched"), 0
        )
        self._context = context
        commands: queue.Queue[Command] = queue.Queue()
        self.loop = Loop(model, context, commands, self._receive, NUM_SEQUENCES, None, cast(Shelf, self.shelf))
        self.loop._budget = DrawnBudget(chance)
        self.slots = self.loop._slots
        self._texts = [[1, *chance.choices(LETTERS, k=NUM_CTX)] for _ in range(3)]
        self._next_id = 0

    @property
    def running(self) -> list[Sequence]:
        return self.loop._running

    def step(self) -> None:
        """Let something happen, then check everything."""
        self.seen["steps"] += 1
        self.seen["fetched"] = self.shelf.taken
        self._happen()
        self._check()
        self.loop._admit()
        self._check()
        if any(sequence.wanted for sequence in self.running):
            self.loop._step()
        self._context.allow()
        self._check()

    def _happen(self) -> None:
        roll = self.chance.random()
        if roll < 0.35 and len(self.loop._waiting) < MOST_WAITING:
            self.loop._obey(self._request())
        elif roll < 0.38:
            self.loop._obey(Cancel(self._any_id()))
        elif roll < 0.44:
            self.loop._obey(Pause(self._any_id(), True))
        elif roll < 0.56:
            self.loop._obey(Pause(self._any_id(), False))
        elif roll < 0.57:
            self.slots.evict_one()
        elif roll < 0.58:
            self.slots.put_away(float("inf"))
        elif roll < 0.60:
            self.break_off()
        elif roll < 0.64:
            self.slots.copy_ahead()

    def _any_id(self) -> int:
        ids = [one.request.id for one in self.running] + [one.id for one in self.loop._waiting]
        return self.chance.choice(ids) if ids else -1

    def _request(self) -> Request:
        self._next_id += 1
        number = self._next_id
        num_ctx = self.chance.choice((32, 64, NUM_CTX, NUM_CTX))
        text = self.chance.choice(self._texts)
        fork = self.chance.choice((self.chance.randint(1, len(text)), len(text)))
        tokens = (text[:fork] + self._letters(self.chance.choice((0, 1, 3, 10, 30))))[
            : self.chance.randint(3, num_ctx - 1)
        ]
        return Request(
            id=number,
            tokens=tokens,
            sampler=DrawnSampler(lambda index: self._draw(number, index)),
            num_ctx=num_ctx,
            num_predict=self.chance.choice((0, 1, 5, 20, 50, 90, -1)),
            stop=(),
            want_context=False,
            dropped=0,
            shift=self.chance.random() < 0.5,
            keep=self.chance.randint(0, min(len(tokens), num_ctx - 6)),
        )

    def _letters(self, count: int) -> list[int]:
        return self.chance.choices(LETTERS, k=count)

    def _draw(self, number: int, index: int) -> int:
        """Draw so that answers run along known texts for a while."""
        sequence = next(one for one in self.running if one.request.id == number)
        self.seen["drawn"] += 1
        self.on_draw(sequence, index)
        if self.chance.random() < 0.02:
            if self.chance.random() < 0.5:
                self._texts[self.chance.randrange(3)] = sequence.tokens[:NUM_CTX]
            return END
        text = self.chance.choice(self._texts)
        at = len(sequence.tokens)
        return text[at] if at < len(text) and self.chance.random() < 0.7 else self.chance.choice(LETTERS)

    def _receive(self, message: FromRunner) -> None:
        match message:
            case Started():
                self.seen["started"] += 1
                self.seen["reused"] += message.cached_tokens > 0
            case Step():
                self.seen["finished"] += len(message.finished)
                self.seen["shifted"] += sum(one.shifted > 0 for one in message.finished)
            case Refused():
                self.seen["refused"] += 1
            case _:
                pass

    def _check(self) -> None:
        self._check_slots()
        self._check_cells()
        self._check_progress()

    def _check_slots(self) -> None:
        slots, tree = self.slots, self.slots.tree
        running = [one.slot for one in self.running]
        assert sorted([*slots._free, *slots.kept, *running]) == list(range(self._context.num_slots)), "a slot is lost"
        for slot in slots._free:
            assert slot not in tree
            self.memory.check(slot, [], exact=True)
        for slot in slots.kept:
            self.memory.check(slot, tree.tokens(slot), exact=True)
        for one in self.running:
            self.memory.check(one.slot, one.tokens[: one.computed], exact=not one.shifted)
            assert tree.tokens(one.slot) == one.tokens[: tree.length(one.slot)]
            assert tree.length(one.slot) <= one.computed
            assert self._context.copies or one.slot not in tree

    def _check_cells(self) -> None:
        cells, tree = self.slots.cells, self.slots.tree
        assert cells._reserved.keys() == {one.slot for one in self.running}
        for one in self.running:
            beyond = one.computed - tree.length(one.slot)
            assert cells._reserved[one.slot] >= beyond >= 0
            prompt = len(one.tokens) - one.output_tokens + len(one.lost)
            most = min(prompt + one.request.most_output, one.request.num_ctx)
            assert cells._reserved[one.slot] + tree.length(one.slot) == most, "reserves other than it may need"
        assert cells.free >= 0, "more is promised than there is"
        filled = tree.cells + sum(one.computed - tree.length(one.slot) for one in self.running)
        assert filled == self.slots.used(self.running)
        in_use = self.memory.cells_in_use()
        if in_use is not None:
            assert in_use == filled if self.memory.shares else in_use <= filled, f"{in_use} in use, {filled} counted"

    def _check_progress(self) -> None:
        for one in self.running:
            leader = one.leader
            if leader is not None:
                assert leader in self.running
                assert leader.wanted, "waits for somebody who does nothing"
        if self.loop._waiting and not self.running:
            assert self.slots.can_admit(self.loop._waiting[0], []), "nobody runs, and nobody may start"
