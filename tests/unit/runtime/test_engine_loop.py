"""The order in which the loop computes, on a fake memory and step by step."""

from __future__ import annotations

import queue
from random import Random
from typing import cast

from corral.runtime.engine.context import Context
from corral.runtime.engine.llama import Model
from corral.runtime.engine.loop import Command, Loop
from corral.runtime.engine.protocol import FromRunner, Step
from corral.runtime.engine.schedule import PromptBudget
from corral.runtime.engine.sequence import Request
from tests.fakes.memory import FakeMemory
from tests.unit.runtime.test_engine_agreement import FakeModel
from tests.unit.runtime.walk import DrawnSampler

BEGINNING = list(range(300, 500))


class FixedBudget(PromptBudget):
    """Lets prompts have so many tokens a step, and few beside streams."""

    def tokens(self, generating: int, *, young: bool = False) -> int:
        return 4 if generating else 128


def first_steps(prompts: list[list[int]]) -> list[set[int]]:
    """The steps in which answers began, each with whose."""
    memory = FakeMemory("full", 4096, 8, 0, Random(0), forgets=0)
    sent: list[FromRunner] = []
    commands: queue.Queue[Command] = queue.Queue()
    loop = Loop(cast(Model, FakeModel()), cast(Context, memory), commands, sent.append, 8)
    loop._budget = FixedBudget(512)
    for number, tokens in enumerate(prompts):
        sampler = DrawnSampler(lambda _: 7)
        loop._obey(Request(number, tokens, sampler, 512, 20, (), want_context=False, dropped=0))
    loop._admit()
    while loop._running:
        loop._step()
    begun: set[int] = set()
    steps: list[set[int]] = []
    for step in sent:
        if isinstance(step, Step) and (fresh := {piece.id for piece in step.pieces} - begun):
            steps.append(fresh)
            begun |= fresh
    return steps


def test_who_waits_for_one_beginning_begins_to_answer_with_who_computed_it() -> None:
    assert first_steps([[*BEGINNING, number, 9, 9] for number in range(5)]) == [{0, 1, 2, 3, 4}]


def test_nobody_waits_with_its_answer_for_what_is_more_than_a_step() -> None:
    longer = list(range(600, 800))
    assert first_steps([[*BEGINNING, 1, 2, 3], [*BEGINNING, *longer]])[0] == {0}
