"""Models that think first, in a runner process: the random ones are told token by token what to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Grammar, Loaded, Sampling, Turn
from tests.unit.runtime.runner_process import Answer, RunnerProcess
from tests.unit.runtime.tiny_models import WORDS, write_tiny

HI = [Turn("user", "the fox")]
OPENS = "{% for m in messages %}{{ m.content }}{% endfor %}{% if thinking %}<think>{% endif %}{# </think> #}"
STAYS = "{% for m in messages %}{{ m.content }}{% endfor %}{# <think> </think> #}"
NAMES = {"<think>": 270, "</think>": 271, "the": 259, "fox": 260, "ran": 261, "dog": 265, "<": 3 + 0x3C, "end": 2}
TABLE = Grammar(
    "json_schema",
    '{"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": false}',
)
LETTERS = Grammar("regex", "[ab]{3}")


def saying(*names: str) -> Sampling:
    """Drawing that says these tokens in this order, each once, and what the model likes afterwards."""
    biases = [(str(NAMES[name]), 1e6 - 1e5 * at) for at, name in enumerate(names)]
    return Sampling(temperature=0, logit_bias=biases, presence_penalty=2e6, repeat_last_n=-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thinking")


def runner_of(path: Path) -> Iterator[RunnerProcess]:
    with RunnerProcess() as child:
        assert isinstance(child.load(path), Loaded)
        yield child


@pytest.fixture(scope="module")
def stays(folder: Path) -> Iterator[RunnerProcess]:
    """A model whose tags are tokens, and whose template leaves it to open them."""
    assert NAMES["<think>"] == 3 + 256 + len(WORDS)
    yield from runner_of(write_tiny(folder / "stays.gguf", "full", template=STAYS, marks=["<think>", "</think>"]))


@pytest.fixture(scope="module")
def opens(folder: Path) -> Iterator[RunnerProcess]:
    """One whose template opens them."""
    yield from runner_of(write_tiny(folder / "opens.gguf", "full", template=OPENS, marks=["<think>", "</think>"]))


def outcome(answer: Answer) -> tuple[str, str, str]:
    assert answer.refused is None, answer.refused
    assert answer.finished is not None
    return answer.thinking, answer.text, answer.finished.reason


def test_thoughts_leave_apart_from_the_answer(stays: RunnerProcess, opens: RunnerProcess) -> None:
    thought = saying("<think>", "the", "fox", "</think>", "ran", "end")
    assert outcome(stays.ask(1, HI, think=True, sampling=thought)) == ("the fox", "ran", "stop")
    assert outcome(stays.ask(2, HI, think=True, sampling=saying("the", "<think>", "fox", "end"))) == (
        *("", " the<think> fox"),
        "stop",
    )
    within = saying("the", "fox", "</think>", "ran", "end")
    assert outcome(opens.ask(3, HI, think="low", sampling=within)) == ("the fox", "ran", "stop")
    assert outcome(opens.ask(4, HI, think=True, sampling=saying("the", "end"))) == ("the", "", "stop")


def test_without_thinking_text_is_as_it_comes(stays: RunnerProcess, opens: RunnerProcess) -> None:
    thought = saying("<think>", "the", "</think>", "ran", "end")
    for think in (False, None):
        assert outcome(stays.ask(10, HI, think=think, sampling=thought)) == ("", "<think> the</think> ran", "stop")
    assert outcome(opens.ask(11, HI, think=False, sampling=saying("the", "end"))) == ("", " the", "stop")
    assert outcome(stays.ask(12, "the fox", sampling=thought)) == ("", "<think> the</think> ran", "stop")


def test_log_probabilities_come_with_thoughts_too(stays: RunnerProcess) -> None:
    answer = stays.ask(20, HI, think=True, logprobs=0, sampling=saying("<think>", "the", "</think>", "ran", "end"))
    assert [one.piece for one in answer.logprobs] == [b"<think>", b" the", b"</think>", b" ran"]


def test_stop_strings_end_thoughts_and_answers(stays: RunnerProcess) -> None:
    thought = saying("<think>", "the", "fox", "</think>", "ran", "dog", "end")
    assert outcome(stays.ask(30, HI, think=True, sampling=thought, stop=["fox"])) == ("the ", "", "stop")
    assert outcome(stays.ask(31, HI, think=True, sampling=thought, stop=["dog"])) == ("the fox", "ran ", "stop")


@pytest.mark.parametrize(("grammar", "wanted"), [(TABLE, r'{"a": "x"}'), (LETTERS, "")])
def test_a_form_binds_what_comes_after_the_thoughts(
    stays: RunnerProcess, opens: RunnerProcess, grammar: Grammar, wanted: str
) -> None:
    thought, within = saying("<think>", "the", "fox", "</think>", "ran"), saying("the", "end", "</think>", "ran")
    for number, (runner, sampling) in enumerate([(stays, thought), (opens, within)]):
        thinking, text, reason = outcome(
            runner.ask(40 + number, HI, think=True, grammar=grammar, sampling=sampling, num_predict=300)
        )
        assert thinking == "the fox" if runner is stays else "the"  # it may not end while it thinks
        assert reason == "stop"
        assert json.loads(text) == json.loads(wanted) if wanted else set(text) <= set("ab") and len(text) == 3


def test_an_answer_may_begin_at_once_but_not_otherwise(stays: RunnerProcess) -> None:
    for number, first in enumerate(["the", "</think>", "<", "end"]):
        thinking, text, reason = outcome(
            stays.ask(50 + number, HI, think=True, grammar=TABLE, sampling=saying(first), num_predict=300)
        )
        assert reason == "stop"
        assert json.loads(text) == {"a": "x"}, thinking


def test_without_thinking_a_form_binds_from_the_first_token(stays: RunnerProcess, opens: RunnerProcess) -> None:
    for runner in (stays, opens):
        answer = runner.ask(60, HI, think=False, grammar=LETTERS, sampling=saying("<think>", "the"))
        thinking, text, reason = outcome(answer)
        assert (thinking, len(text), set(text) <= set("ab"), reason) == ("", 3, True, "stop")


def test_a_budget_may_end_among_the_thoughts(stays: RunnerProcess, opens: RunnerProcess) -> None:
    thought = saying("<think>", "the", "fox", "</think>")
    for grammar in (None, TABLE):
        answer = stays.ask(70, HI, think=True, grammar=grammar, sampling=thought, num_predict=3)
        assert outcome(answer) == ("the fox", "", "length")
        answer = opens.ask(71, HI, think=True, grammar=grammar, sampling=saying("the", "fox"), num_predict=2)
        assert outcome(answer) == ("the fox", "", "length")


SHOTS = """Q: What is two plus two?
A: <think>I add two and two.</think>four
Q: What is two plus one?
A: <think>I add two and one.</think>three
Q: What is one plus one?
A: <think>I add one and one.</think>two
Q: What is three plus one?
A:{{ if false }}{{ range .Messages }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"""


@pytest.mark.model
def test_tags_of_several_tokens_on_a_real_model(starter_gguf: Path) -> None:
    with RunnerProcess() as child:
        assert isinstance(child.load(starter_gguf), Loaded)
        how: dict[str, object] = {"go_template": SHOTS, "stop": ["\n"], "num_predict": 60}
        free = child.ask(1, HI, think=True, **how)
        assert free.thinking.startswith("I add")
        assert "<" not in free.thinking + free.text
        assert free.text
        raw = child.ask(2, HI, think=False, **how)
        assert (raw.thinking, raw.text.count("<think>"), raw.text.count("</think>")) == ("", 1, 1)
        bound = child.ask(3, HI, think=True, grammar=Grammar("regex", "(four|nine)!"), **how)
        assert bound.thinking == free.thinking
        assert bound.text in ("four!", "nine!")
        table = child.ask(4, HI, think=True, grammar=TABLE, go_template=SHOTS, num_predict=300)
        assert table.thinking == free.thinking
        assert json.loads(table.text) == {"a": "x"}
