"""Answers that have to call tools, in a runner process: what a random model must write, its family's parser reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.runtime.engine.protocol import Loaded, Sampling, ToolUse, Turn
from corral.runtime.prompt.parsers.families import PARSERS
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.tiny_models import WORDS, write_tiny

HI = [Turn("user", "the fox")]
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "enum": ["Oslo", "Rome"]},
                    "days": {"type": "integer", "minimum": 1, "maximum": 9},
                    "metric": {"type": "boolean"},
                },
                "required": ["city", "days"],
            },
        },
    },
    {"type": "function", "function": {"name": "time"}},
]
DEEPSEEK = [
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
]
MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<|channel|>", "<|message|>", "<|end|>", "<|start|>"]
SPACED = [*WORDS, "▁"]
"""With a token for a blank, as every real vocabulary of this kind has."""
IDS = {name: 3 + 256 + len(SPACED) + at for at, name in enumerate([*DEEPSEEK, *MARKS])}
CALLING = sorted(name for name, family in PARSERS.items() if family.form is not None)
SEEDS = range(3)


def use(choice: str = "required", only: str = "weather", *, parallel: bool = False, tools: object = TOOLS) -> ToolUse:
    return ToolUse(json.dumps(tools), choice, only, parallel)


TO_FUNCTIONS = {"harmony": "c", "glimmer": "wt"}
"""First letters of whom a message is to, in families that could think for ever instead."""


def drawing(name: str, seed: int = 1) -> Sampling:
    """Warm drawing; where answers are messages, of one that calls."""
    biases = [(str(3 + ord(letter)), 1e6) for letter in TO_FUNCTIONS.get(name, "")]
    return Sampling(seed=seed, temperature=1.0, logit_bias=biases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def runner(folder: Path) -> Iterator[RunnerProcess]:
    """A model whose tags are tokens."""
    with RunnerProcess() as child:
        path = write_tiny(folder / "marks.gguf", "full", words=SPACED, marks=[*DEEPSEEK, *MARKS])
        assert isinstance(child.load(path), Loaded)
        yield child


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[RunnerProcess]:
    """One whose tags are text, but for those that no text spells."""
    with RunnerProcess() as child:
        path = write_tiny(folder / "plain.gguf", "full", words=SPACED, marks=DEEPSEEK)
        assert isinstance(child.load(path), Loaded)
        yield child


def called(answer: Answer) -> list[tuple[str, dict[str, Any]]]:
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    assert (answer.text, answer.finished.reason, answer.finished.warnings) == ("", "stop", [])
    return [(call.name, json.loads(call.arguments)) for call in answer.calls]


@pytest.mark.parametrize("name", CALLING)
def test_the_one_named_is_called(runner: RunnerProcess, plain: RunnerProcess, name: str) -> None:
    for seed, child in itertools.product(SEEDS, (runner, plain)):
        sampling = drawing(name, seed)
        answer = child.ask(seed, HI, tools=use(), parser=name, sampling=sampling, num_predict=400)
        ((function, arguments),) = called(answer)
        assert function == "weather"
        assert arguments["city"] in ("Oslo", "Rome")
        assert arguments["days"] in range(1, 10)
        assert arguments.keys() - {"city", "days"} <= {"metric"}
        assert arguments.get("metric", True) in (True, False)


@pytest.mark.parametrize("name", CALLING)
def test_some_tool_is_called(runner: RunnerProcess, name: str) -> None:
    only_time = use(only="", tools=[TOOLS[1]])
    answer = runner.ask(10, HI, tools=only_time, parser=name, sampling=drawing(name), num_predict=400)
    assert called(answer) == [("time", {})]
    both = use(only="", parallel=True)
    several = runner.ask(11, HI, tools=both, parser=name, sampling=drawing(name), num_predict=490)
    assert several.calls
    assert {call.name for call in several.calls} <= {"weather", "time"}


def test_without_a_choice_an_answer_is_free(runner: RunnerProcess) -> None:
    free = runner.ask(20, HI, parser="qwen3")
    offered = runner.ask(21, HI, tools=use("auto", ""), parser="qwen3")
    none = runner.ask(22, HI, tools=use("none"), parser="qwen3")
    assert free.text.strip() == offered.text.strip() == none.text.strip()
    assert not offered.calls


@pytest.mark.parametrize(
    ("choice", "place", "warned"),
    [("auto", "", True), ("required", "", True), ("none", "", False), ("auto", "{{ .Tools }}", False)],
)
def test_a_template_without_a_place_for_tools_is_told_of(
    runner: RunnerProcess, choice: str, place: str, warned: bool
) -> None:
    template = f"{place}{{{{ range .Messages }}}}{{{{ .Content }}}}{{{{ end }}}}"
    answer = runner.ask(25, HI, tools=use(choice, ""), parser="qwen3", go_template=template, num_predict=2)
    assert answer.started is not None
    assert [warning for warning in answer.started.warnings if "was not shown the tools" in warning] == (
        ["the model was not shown the tools: its template has no place for them"] if warned else []
    )


def test_a_model_that_nobody_knows_how_it_calls_is_refused(runner: RunnerProcess) -> None:
    answer = runner.ask(30, HI, tools=use())
    assert answer.refused is not None
    assert answer.refused.message.startswith("this model cannot be made to call tools")
    assert runner.ask(31, HI, tools=use("auto", "")).text
    bad = [{"function": {"name": "f", "parameters": {"properties": {"a": {"pattern": "("}}, "required": ["a"]}}}]
    broken = runner.ask(32, HI, tools=use(only="", tools=bad), parser="qwen3").refused
    assert broken is not None
    assert broken.message.startswith("invalid parameters of a tool: ")


def test_thoughts_may_come_first(runner: RunnerProcess) -> None:
    said = [(str(token), 1e6 - 1e5 * at) for at, token in enumerate([IDS["<think>"], 259, IDS["</think>"]])]
    thought = Sampling(temperature=0, logit_bias=said, presence_penalty=2e6, repeat_last_n=-1)
    answer = runner.ask(40, HI, tools=use(), parser="qwen3-thinking", think=True, sampling=thought, num_predict=400)
    assert answer.thinking == "the"
    ((function, arguments),) = called(answer)
    assert (function, arguments["city"] in ("Oslo", "Rome")) == ("weather", True)
