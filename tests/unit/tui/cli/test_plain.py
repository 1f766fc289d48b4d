"""The dialogue of lines, against a workbench from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from corral.runtime.verbs import ChatRequest
from tests.fakes.moment import moment
from tests.unit.tui.cli.driving import Driver

MODEL = "smollm2:135m"
Say = Callable[..., list[str]]


@pytest.fixture
def say(corral: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Says lines and returns what came back, without the greeting."""

    def type_in(*lines: str, flags: tuple[str, ...] = ()) -> list[str]:
        waiting: Iterator[str] = iter(lines)

        def next_line(prompt: str) -> str:
            try:
                return next(waiting)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", next_line)
        assert corral("--plain", *flags) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\r" not in out
        return out.splitlines()[2:]

    return type_in


def test_models_are_listed_as_by_the_command(say: Say) -> None:
    head, row, *_ = say("list", "quit")
    assert head.startswith("NAME")
    assert row.startswith(MODEL)


def test_a_chat_is_read_out_in_whole_lines_and_remembered(corral: Driver, say: Say) -> None:
    corral.fake.words = ("one\n", "two ", "three")
    told = say(f"chat {MODEL}", "hello", "and?", "quit", "quit")
    assert told == [
        f"Chat with {MODEL}. Say quit to end it.",
        *("one", "two three", "End of the answer.") * 2,
        f"End of the chat with {MODEL}.",
    ]
    asked = corral.fake.asked[-1]
    assert isinstance(asked, ChatRequest)
    assert [one.role for one in asked.messages] == ["user", "assistant", "user"]


def test_a_pull_says_each_step_once(say: Say) -> None:
    assert say("pull qwen3:8b") == [
        "pulling manifest",
        *(f"pulling {one}" for one in _steps()),
        "writing manifest",
        "success",
        "",
    ]


def _steps() -> list[str]:
    from hashlib import sha256

    digest = sha256(b"qwen3:8b").hexdigest()[:12]
    return [f"{digest}, {percent} percent of 100 B" for percent in (0, 50, 100)]


def test_the_state_is_told_in_sentences(corral: Driver, say: Say) -> None:
    corral.fake.snapshot = moment()
    told = say("status")
    assert "smollm2:135m is in memory: busy, 1 of 4 slots in use." in told
    assert "2 requests under way, 0 waiting." in told
    assert any(line.startswith("CPU 34 percent") for line in told)


def test_mistakes_are_told_and_the_dialogue_goes_on(say: Say) -> None:
    told = say("frobnicate", "chat", "chat nosuch", 'rm "', "serve", "list --nosuch", "list", "quit")
    errors = [line for line in told if line.startswith("Error: ")]
    assert len(errors) == 6
    assert any(line.startswith("NAME") for line in told)


def test_help_names_what_can_be_said(say: Say) -> None:
    told = say("help")
    assert told == say("/?") == say("/help")
    assert any(line.startswith("pull MODEL: ") for line in told)
    assert not any(line.startswith(("serve", "attach")) for line in told)


def test_read_only_refuses_what_changes(corral: Driver, say: Say) -> None:
    told = say(f"rm {MODEL}", "pull x", "list", flags=("--read-only",))
    assert [line for line in told if "read-only" in line] == [
        "Error: this dialogue is read-only: it was opened with --read-only"
    ] * 2
    assert MODEL in corral.fake.models
