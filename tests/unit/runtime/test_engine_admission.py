"""Which computed sequence a prompt goes on from, on a fake memory."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest

from corral.runtime.engine import admission
from corral.runtime.engine.admission import Slots
from corral.runtime.engine.chain import Sampler
from corral.runtime.engine.context import Batch, Context
from corral.runtime.engine.sequence import Request, Sequence
from corral.runtime.engine.shift import shift, tokens_to_drop
from tests.fakes.memory import WINDOW, FakeMemory

CHAT = list(range(100, 180))


class NoSampler(Sampler):
    def __init__(self) -> None:
        """There is no chain."""


class Desk:
    """Slots of a memory that can be told to run requests to their end."""

    def __init__(self, kind: str, slots: int = 2) -> None:
        self.memory = FakeMemory(kind, 512, slots, slots, Random(0), forgets=0)
        self.slots = Slots(cast(Context, self.memory), slots)

    def admit(self, tokens: list[int]) -> Sequence:
        """Start a request."""
        request = Request(1, tokens, NoSampler(), 256, 8, (), want_context=False, dropped=0)
        assert self.slots.can_admit(request, [])
        slot, held, _, _ = self.slots.admit(request, [])
        sequence = Sequence(request, slot, 0)
        sequence.computed = sequence.cached = held
        return sequence

    def serve(self, tokens: list[int]) -> Sequence:
        """Compute a whole prompt and keep it; returns who ran it."""
        sequence = self.admit(tokens)
        batch = Batch(len(tokens))
        batch.add(sequence.slot, tokens[sequence.computed :], sequence.computed, output=True)
        self.memory.decode(batch)
        sequence.computed = len(tokens)
        self.slots.finish(sequence)
        return sequence


@pytest.mark.parametrize("kind", ["full", "whole window", "cut window", "recurrent", "hybrid"])
def test_a_chat_goes_on_where_it_ended(kind: str) -> None:
    desk = Desk(kind)
    desk.serve(CHAT)
    assert desk.admit([*CHAT, 1, 2, 3]).cached == len(CHAT)


def test_a_chat_goes_on_when_its_window_is_all_that_is_left() -> None:
    desk = Desk("cut window")
    slot = desk.serve(CHAT).slot
    desk.memory.lose(slot, len(CHAT) - WINDOW + 1)
    assert desk.admit([*CHAT, 1, 2, 3]).cached == len(CHAT)


def test_a_source_that_lost_its_window_is_not_chosen_where_another_has_it() -> None:
    desk = Desk("whole window")
    desk.serve([*CHAT, 1, 2, 3])
    newer = desk.serve([*CHAT, 4, 5, 6])
    desk.memory.lose(newer.slot, len(CHAT) - 5)
    assert desk.admit([*CHAT, 7, 8, 9]).cached == len(CHAT)


def test_a_chat_is_not_cut_for_a_few_common_tokens() -> None:
    desk = Desk("cut window")
    desk.serve(CHAT)
    desk.serve([*CHAT[:5], 1, 2, 3])
    assert desk.admit([*CHAT, 1, 2, 3]).cached == len(CHAT)


@pytest.mark.parametrize("kind", ["full", "whole window"])
def test_what_was_copied_ahead_leaves_the_cache_at_once_and_comes_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(kind)
    desk.memory.most_kept = 16
    desk.serve(CHAT)
    assert desk.slots.copy_ahead()
    assert not desk.slots.copy_ahead(), "it was copied twice"
    with monkeypatch.context() as patch:
        patch.setattr(desk.memory, "state", None)  # to copy it now fails
        desk.serve(list(range(300, 380)))
    assert desk.admit([*CHAT, 1, 2, 3]).cached == len(CHAT)


def test_all_that_the_next_one_moves_is_copied_ahead_but_a_shared_beginning_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk("full", slots=4)
    desk.memory.most_kept = 16
    desk.serve([*CHAT, 1])
    desk.serve([*CHAT, 2])
    desk.serve([*CHAT, *range(64)])
    copied = 0
    while desk.slots.copy_ahead():
        copied += 1
    assert copied == 2
    monkeypatch.setattr(desk.memory, "state", None)  # to copy one now fails
    desk.serve(list(range(300, 380)))


def test_what_was_copied_ahead_is_gone_on_with_where_it_is() -> None:
    desk = Desk("full")
    desk.memory.most_kept = 16
    slot = desk.serve(CHAT).slot
    assert desk.slots.copy_ahead()
    assert desk.serve([*CHAT, 1, 2, 3]).slot == slot
    assert desk.slots.copy_ahead()
    assert desk.slots.cache_use([]).parked == 1, "the beginning stays beside the whole"


def test_nothing_is_copied_ahead_where_nothing_will_leave_or_it_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk("full")
    desk.serve(CHAT)
    assert not desk.slots.copy_ahead()
    desk.memory.most_kept = len(CHAT)
    assert not desk.slots.copy_ahead()
    desk.memory.most_kept = 16
    monkeypatch.setattr(admission, "_COPIED_AHEAD_BYTES", 100)
    assert not desk.slots.copy_ahead()
    monkeypatch.undo()
    monkeypatch.setattr(admission, "affordable_bytes", lambda: 100)
    small = Desk("full")
    small.memory.most_kept = 16
    small.serve(CHAT)
    assert not small.slots.copy_ahead()


def test_nobody_waits_for_a_paused_leader() -> None:
    desk = Desk("full")
    leader = desk.admit(CHAT)
    leader.paused = True
    request = Request(2, [*CHAT, 1, 2, 3], NoSampler(), 256, 8, (), want_context=False, dropped=0)
    assert desk.slots.admit(request, [leader])[2] is None
    leader.paused = False
    assert desk.slots.admit(request, [leader])[2] is leader


@pytest.mark.parametrize("kind", ["recurrent", "hybrid"])
def test_a_full_window_whose_memory_was_lost_is_shifted_all_the_same(kind: str) -> None:
    desk = Desk(kind)
    sequence = desk.admit(CHAT)
    drop = tokens_to_drop(sequence)
    shift(sequence, cast(Context, desk.memory), shared=False)
    assert (len(sequence.tokens), sequence.computed) == (len(CHAT) - drop, 0)
    assert desk.memory.holds(sequence.slot, [])
