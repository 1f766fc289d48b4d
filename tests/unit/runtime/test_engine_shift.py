"""What a runner does when a window is full and when a prompt is too long, on random models of each memory kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.runtime.engine.protocol import Sampling, Turn
from corral.runtime.engine.shift import tokens_to_keep
from corral.runtime.prompt.fit import cut_middle
from tests.unit.runtime.runner_process import Answer, RunnerProcess

STORY = "the fox ran and saw a dog and the cat "
MEMORIES = [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None), ("hybrid", None)]
LOOSE = {"temperature": 5.0, "top_k": 0, "top_p": 1.0}
EXACT = {"kv_type": "f32", "flash_attention": False}
"""Keeps rounding too small to turn a draw when cells lie elsewhere."""


@pytest.fixture
def runner() -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        yield child


def drawn(seed: int) -> Sampling:
    return Sampling(seed=seed, **LOOSE)  # type: ignore[arg-type]


def ask_long(runner: RunnerProcess, prompt: str, **fields: Any) -> tuple[Answer, Sampling]:
    """Ask until an answer goes on for as long as it may: a random model may end by itself."""
    for seed in range(40):
        answer = runner.ask(100 + seed, prompt, num_ctx=64, sampling=drawn(seed), want_context=True, **fields)
        assert answer.finished is not None
        if answer.finished.reason == "length":
            return answer, drawn(seed)
    pytest.fail("every answer ended by itself")


def context_of(answer: Answer) -> list[int]:
    assert answer.finished is not None, answer.refused
    return answer.finished.context


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_an_answer_goes_on_beyond_the_window(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    runner.load(tiny(kind), whole_window=whole, num_ctx=64, num_cells=256, num_sequences=2, **EXACT)
    answer, sampling = ask_long(runner, STORY[:20], num_predict=200)
    assert answer.finished is not None
    assert (answer.finished.output_tokens, answer.tokens) == (200, 200)
    assert len(context_of(answer)) == answer.finished.prompt_tokens + 200
    assert answer.finished.shifted >= 150
    assert all(step.cells_used <= 256 for step in runner.steps)
    assert answer.prompt_done == sorted(set(answer.prompt_done))
    again = runner.ask(2, STORY[:20], num_ctx=64, num_predict=200, sampling=sampling, want_context=True)
    assert context_of(again) == context_of(answer)


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_what_was_shifted_is_nobodys_beginning(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    runner.load(tiny(kind), whole_window=whole, num_ctx=64, num_cells=256, num_sequences=1)
    first, _ = ask_long(runner, STORY[:20], num_predict=80)
    assert first.finished is not None
    assert first.finished.shifted
    # Both the tokens as they were said and those the window ended with.
    said = context_of(first)
    keep = 5
    held = said[:keep] + said[keep + first.finished.shifted :]
    for number, prefix in enumerate((said, held), 2):
        cached = runner.ask(number, "and", prefix=prefix, num_predict=8, want_context=True)
        with RunnerProcess() as fresh:
            fresh.load(tiny(kind), whole_window=whole, num_ctx=64, num_cells=256, num_sequences=1)
            expected = fresh.ask(1, "and", prefix=prefix, num_predict=8, want_context=True)
        assert cached.finished is not None
        if prefix is said:
            assert cached.finished.cached_tokens == 0 or "sliding" in kind
        assert context_of(cached) == context_of(expected)


def test_shift_false_stops(runner: RunnerProcess, tiny: Callable[[str], Path]) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    answer, _ = ask_long(runner, STORY[:20], num_predict=300, shift=False)
    assert answer.finished is not None
    assert (answer.finished.reason, answer.finished.shifted) == ("length", 0)
    assert answer.finished.prompt_tokens + answer.finished.output_tokens == 64


@pytest.mark.parametrize(("kind", "whole"), MEMORIES[:2])
def test_streams_that_share_a_beginning_shift_as_each_would_alone(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, whole: bool | None
) -> None:
    # Half precision would round otherwise where cells lie in another order.
    exact = {"kv_type": "f32", "flash_attention": False}
    load: dict[str, Any] = {"whole_window": whole, "num_ctx": 64, "num_cells": 512, "num_sequences": 4, **exact}
    runner.load(tiny(kind), **load)
    prompt = STORY[:36]  # more of it is shared than a shift leaves in its place
    ask: dict[str, Any] = {"num_ctx": 64, "num_predict": 150, "want_context": True}
    runner.ask(9, f"{prompt}zz", **{**ask, "num_predict": 1})  # a cached sequence shares the cells too
    answers = [runner.submit(i, f"{prompt}{i}", **ask) for i in range(4)]
    runner.read_until(lambda: all(answer.is_over for answer in answers))
    assert sum(bool(answer.finished and answer.finished.shifted) for answer in answers) >= 2
    for number, answer in enumerate(answers):
        with RunnerProcess() as fresh:
            fresh.load(tiny(kind), **load)
            alone = context_of(fresh.ask(1, f"{prompt}{number}", **ask))
            assert context_of(answer) == alone
    # What stayed cached is still exact.
    after = runner.ask(20, prompt + "x", **{**ask, "num_predict": 8})
    with RunnerProcess() as fresh:
        fresh.load(tiny(kind), **load)
        assert context_of(after) == context_of(fresh.ask(1, prompt + "x", **{**ask, "num_predict": 8}))
    assert after.finished is not None
    assert after.finished.cached_tokens > 40


@pytest.mark.parametrize("num_keep", [0, 4, 20, -1, 1000])
def test_what_is_to_be_kept_is_kept(runner: RunnerProcess, tiny: Callable[[str], Path], num_keep: int) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    answer, _ = ask_long(runner, STORY[:30], num_predict=100, num_keep=num_keep)
    assert answer.finished is not None
    assert answer.finished.output_tokens == 100


@pytest.mark.parametrize("kind", ["full", "recurrent"])
@pytest.mark.parametrize("chat", [False, True])
def test_a_prompt_that_is_too_long_is_cut_in_the_middle(
    runner: RunnerProcess, tiny: Callable[[str], Path], kind: str, chat: bool
) -> None:
    runner.load(tiny(kind))
    prompt: Any = [Turn("user", "x"), Turn("user", STORY * 10)] if chat else STORY * 10
    answer = runner.ask(1, prompt, num_ctx=64, num_predict=2, num_keep=9, want_context=True)
    assert answer.started is not None
    assert (answer.started.prompt_tokens, answer.started.dropped) == (62, int(chat))
    assert answer.started.cut > 100
    whole = runner.ask(2, STORY * 10, num_ctx=512, num_predict=0, want_context=True)
    if not chat:
        full = context_of(whole)
        assert context_of(answer)[:62] == full[:10] + full[-52:]


@pytest.mark.parametrize(
    "prompt", [STORY * 10, [Turn("user", "x"), Turn("user", STORY * 10)], [Turn("user", "x")] * 40]
)
def test_truncate_false_refuses(runner: RunnerProcess, tiny: Callable[[str], Path], prompt: str | list[Turn]) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    answer = runner.ask(1, prompt, num_ctx=64, truncate=False)
    assert answer.refused is not None
    assert answer.refused.kind == "too_long"
    assert answer.refused.num_tokens > 64
    assert runner.ask(2, "the fox", num_ctx=64, truncate=False).finished


@pytest.mark.parametrize("num_ctx", [1, 2, 3, 4, 5, 8])
def test_windows_of_a_few_tokens(runner: RunnerProcess, tiny: Callable[[str], Path], num_ctx: int) -> None:
    runner.load(tiny("full"), num_ctx=64, num_cells=256)
    for number, (prompt, shift) in enumerate(itertools.product(["", "a", STORY], [True, False])):
        answer = runner.ask(number, prompt, num_ctx=num_ctx, num_predict=20, shift=shift, sampling=drawn(number))
        assert answer.finished is not None
        assert answer.finished.output_tokens >= 1


def test_tokens_to_keep() -> None:
    assert tokens_to_keep(4, 100, 256, begins=True) == 5
    assert tokens_to_keep(4, 100, 256, begins=False) == 4
    assert tokens_to_keep(4, 2, 256, begins=True) == 2
    assert tokens_to_keep(-1, 100, 256, begins=True) == 100
    assert tokens_to_keep(-1, 300, 256, begins=True) == 240
    assert tokens_to_keep(4, 100, 4, begins=True) == 0


def test_cut_middle() -> None:
    assert cut_middle([1, 2, 3, 4, 5, 6, 7], 2, 5) == [1, 2, 5, 6, 7]
    assert cut_middle([1, 2, 3], 0, 1) == [3]
