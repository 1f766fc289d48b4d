"""Log probabilities, on the real model: they are those of the tokens said, before sampling, and go with their text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Loaded, Sampling, Turn
from corral.runtime.formats import grammar_for
from tests.unit.runtime.json_schemas import table, text
from tests.unit.runtime.runner_process import Answer, RunnerProcess

pytestmark = pytest.mark.model
ASK = [Turn("user", "Why is the sky blue?")]


@pytest.fixture(scope="module")
def runner(starter_gguf: Path) -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        assert isinstance(child.load(starter_gguf, num_ctx=1024, num_cells=4096), Loaded)
        yield child


def said(answer: Answer) -> str:
    return b"".join(one.piece for one in answer.logprobs).decode(errors="replace")


def test_none_come_unasked(runner: RunnerProcess) -> None:
    assert runner.ask(1, ASK).logprobs == []


def test_every_token_has_one_and_the_likeliest_beside_it(runner: RunnerProcess) -> None:
    answer = runner.ask(1, ASK, logprobs=3)
    assert answer.finished is not None
    assert said(answer) == answer.text
    assert len(answer.logprobs) == answer.finished.output_tokens == 24
    for one in answer.logprobs:
        top = [other.logprob for other in one.top]
        assert len(top) == 3
        assert top == sorted(top, reverse=True)
        assert top[0] == one.logprob <= 0  # greedy says the likeliest
        assert one.top[0].piece == one.piece
        assert sum(map(math.exp, top)) <= 1.0001


def test_sampling_options_do_not_change_them(runner: RunnerProcess) -> None:
    plain = runner.ask(1, ASK, logprobs=20, num_predict=1).logprobs[0]
    settings = Sampling(seed=1, temperature=5.0, top_k=1, repeat_penalty=2.0, logit_bias=[(" yes", 5.0)])
    drawn = runner.ask(1, ASK, logprobs=20, num_predict=1, sampling=settings).logprobs[0]
    assert [one.piece for one in drawn.top] == [one.piece for one in plain.top]
    assert [one.logprob for one in drawn.top] == pytest.approx([one.logprob for one in plain.top], abs=0.05)
    assert [one.top for one in runner.ask(1, ASK, logprobs=0, num_predict=2).logprobs] == [[], []]


def test_a_bound_answer_shows_what_the_model_would_rather_have_said(runner: RunnerProcess) -> None:
    grammar = grammar_for(table(a=text(5)), {}, "", "")
    answer = runner.ask(1, ASK, logprobs=1, grammar=grammar)
    assert said(answer) == answer.text
    assert set(json.loads(answer.text)) == {"a"}
    first = answer.logprobs[0]
    assert first.piece.startswith(b"{")
    assert first.logprob < first.top[0].logprob


def test_stop_strings_take_theirs_along(runner: RunnerProcess) -> None:
    whole, stop = "A ship sails over the sea", " over the"
    answer = runner.ask(1, ASK, logprobs=0, stop=[stop], grammar=grammar_for(None, {}, "", whole))
    assert answer.text == whole[: whole.index(stop)]
    assert said(answer).startswith(answer.text)
    assert len(said(answer)) < len(answer.text) + len(stop) + 12
    assert len(answer.logprobs) < answer.tokens


def test_parts_of_characters_are_told_as_bytes(runner: RunnerProcess) -> None:
    answer = runner.ask(1, "🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊", logprobs=0, num_predict=12)
    assert "🐻" in said(answer)
    assert len(answer.logprobs) == 12
