"""The runner on a real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Grammar, Loaded, Ping, Pong, Turn
from tests.unit.runtime.runner_process import RunnerProcess

pytestmark = pytest.mark.model

QUESTIONS = ["Why is the sky blue?", "Name three fruits.", "What is 2+2?", "Tell me a story about a fox."]


@pytest.fixture(scope="module")
def starter_runner(starter_gguf: Path) -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        assert isinstance(child.load(starter_gguf, num_ctx=4096, num_cells=8192), Loaded)
        yield child


def chat(question: str) -> list[Turn]:
    return [Turn("user", question)]


def test_streams_together_take_what_each_computed_alone(starter_runner: RunnerProcess) -> None:
    # That they say the same is tested on tiny models: with this one llama.cpp rounds otherwise in a larger batch.
    for i, question in enumerate(QUESTIONS):
        starter_runner.ask(10 + i, chat(question), num_ctx=4096)
    answers = [starter_runner.submit(20 + i, chat(question), num_ctx=4096) for i, question in enumerate(QUESTIONS)]
    starter_runner.read_until(lambda: all(answer.is_over for answer in answers))
    assert all(answer.text for answer in answers)
    assert all(answer.started and answer.started.cached_tokens > 0 for answer in answers)


def test_a_second_turn_takes_the_first_from_the_cache(starter_runner: RunnerProcess) -> None:
    first = starter_runner.ask(30, chat("Name a colour."), num_ctx=4096)
    turns = [*chat("Name a colour."), Turn("assistant", first.text), Turn("user", "And another?")]
    second = starter_runner.ask(31, turns, num_ctx=4096)
    assert first.finished is not None
    assert second.finished is not None
    assert second.finished.cached_tokens >= first.finished.prompt_tokens


def test_emoji_come_whole(starter_runner: RunnerProcess) -> None:
    before = len(starter_runner.steps)
    prompt = "🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊🐻🐼 🦊"
    answer = starter_runner.ask(40, prompt, num_ctx=4096, num_predict=30)
    assert "🐻" in answer.text
    assert "�" not in answer.text
    texts = [piece.text for step in starter_runner.steps[before:] for piece in step.pieces]
    assert "" in texts  # a token may hold but a part of a character


def test_a_stop_string_ends_an_answer(starter_runner: RunnerProcess) -> None:
    bound = Grammar("regex", "The sky is blue because air scatters light\\.")
    stop = ["ey scatter", " blue because"]
    answer = starter_runner.ask(50, chat("Why is the sky blue?"), num_ctx=4096, grammar=bound, stop=stop)
    assert answer.text == "The sky is"
    assert answer.finished is not None
    assert answer.finished.reason == "stop"


def test_a_cancelled_prompt_stops_at_once(starter_runner: RunnerProcess) -> None:
    long = " ".join(f"Word number {i} of a long story." for i in range(300))
    doomed = starter_runner.submit(60, long, num_ctx=4096)
    starter_runner.read_until(lambda: len(doomed.prompt_done) >= 2)
    assert doomed.started is not None
    starter_runner.cancel(60)
    told = len(doomed.prompt_done)
    starter_runner.send(Ping(60))
    starter_runner.read_until(lambda: any(isinstance(one, Pong) and one.nonce == 60 for one in starter_runner.others))
    assert len(doomed.prompt_done) - told <= 2  # what was under way then
    done = doomed.prompt_done[-1]
    assert done < doomed.started.prompt_tokens
    assert starter_runner.ask(61, chat("Hi"), num_ctx=4096).finished
    assert doomed.prompt_done[-1] == done
    assert not doomed.is_over


def test_a_long_prompt_lets_the_others_speak(starter_runner: RunnerProcess) -> None:
    talker = starter_runner.submit(70, chat("Tell me a very long story."), num_ctx=4096, num_predict=3000)
    starter_runner.read_until(lambda: talker.tokens >= 3)
    before = talker.tokens
    long = " ".join(f"{i} is a number." for i in range(150))
    reader = starter_runner.submit(71, long, num_ctx=4096, num_predict=1)
    starter_runner.read_until(lambda: reader.is_over)
    starter_runner.cancel(70)
    assert len(reader.prompt_done) > 3
    assert talker.tokens - before >= len(reader.prompt_done) - 1
