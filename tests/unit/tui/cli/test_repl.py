from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from corral.runtime.errors import RunnerDied
from corral.runtime.verbs import ChatRequest, CreateRequest, Message
from corral.tui.cli.repl import converse
from corral.tui.cli.session import Cli
from tests.unit.tui.cli.driving import Driver, FakeSession

Talk = Callable[..., str]


@pytest.fixture
def talk(corral: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Types lines, then Ctrl-D; returns what was printed on both streams."""
    monkeypatch.delenv("VISUAL", raising=False)

    def type_in(
        *lines: str, model: str = "smollm2:135m", end: str = "\x04", think: str = "", hides: bool = False
    ) -> str:
        cli = Cli.from_environment({"HOME": str(corral.home), **corral.environ}, corral.connect)
        flags = argparse.Namespace(nowordwrap=False, verbose=False, think=think, hidethinking=hides, format="")
        session = FakeSession(corral.fake)
        details = session.run(corral.fake.show(model))
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            keys.send_text("".join(f"{line}\r" for line in lines) + end)
            assert converse(cli, session, details, keep_alive_s=None, flags=flags) == 0
        session.close()
        captured = capsys.readouterr()
        return captured.out + captured.err

    return type_in


def chats(corral: Driver) -> list[ChatRequest]:
    return [one for one in corral.fake.asked if isinstance(one, ChatRequest) and one.messages]


def test_it_loads_the_model_and_talks(corral: Driver, talk: Talk) -> None:
    assert talk("hello", "again") == "t0 t1 t2 \n\nt0 t1 t2 \n\n"
    first, *_ = corral.fake.asked
    assert first == ChatRequest("smollm2:135m")
    assert chats(corral)[-1].messages == (
        Message("user", "hello"),
        Message("assistant", "t0 t1 t2 "),
        Message("user", "again"),
    )


def test_several_lines_between_fences_are_one_message(corral: Driver, talk: Talk) -> None:
    talk('"""a', "/bye", 'c"""')
    assert chats(corral)[-1].messages == (Message("user", "a\n/bye\nc"),)


def test_ctrl_j_begins_a_new_line(corral: Driver, talk: Talk) -> None:
    talk("a\x0ab")
    assert chats(corral)[-1].messages == (Message("user", "a\nb"),)


def test_a_paste_of_several_lines_is_one_message(corral: Driver, talk: Talk) -> None:
    talk("\x1b[200~a\n/bye\nb\x1b[201~")
    assert chats(corral)[-1].messages == (Message("user", "a\n/bye\nb"),)


def test_a_form_holds_until_it_is_taken_back(corral: Driver, talk: Talk) -> None:
    talk("one", "/set format json", "two", "/set noformat", "three")
    assert [chat.format for chat in chats(corral)] == [None, "json", None]


@pytest.mark.parametrize("word", ["/bye", "/exit"])
def test_goodbye(corral: Driver, talk: Talk, word: str) -> None:
    assert talk(word, "unheard", end="") == ""
    assert not chats(corral)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/set verbose", "Set 'verbose' mode."),
        ("/set quiet", "Set 'quiet' mode."),
        ("/set wordwrap", "Set 'wordwrap' mode."),
        ("/set nowordwrap", "Set 'nowordwrap' mode."),
        ("/set nothink", "Set 'nothink' mode."),
        ("/set think", 'warning: model "smollm2:135m" does not support thinking output'),
        ("/set think much", "error: the level must be high, medium, low, or max"),
        ("/set noformat", "Disabled format."),
        ("/set format json", "Set format to 'json' mode."),
        ("/set format", "Invalid or missing format. For 'json' mode use '/set format json'"),
        ("/set format xml", "Invalid or missing format. For 'json' mode use '/set format json'"),
        ("/set foo", "Unknown command '/set foo'. Type /? for help"),
        ("/set system Be brief", "Set system message."),
        ("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'"),
        ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'"),
        ("/set parameter nope 1", "Couldn't set parameter: \"unknown parameter 'nope'\""),
        ("/set parameter top_k x", 'Couldn\'t set parameter: "invalid int value [x]"'),
        ("/set parameter low_vram true", "warning: parameter low_vram is deprecated"),
        ("/foo", "Unknown command '/foo'. Type /? for help"),
        ("/show foo", "Unknown command '/show foo'. Type /? for help"),
        ("/clear", "Cleared session context"),
        ("/load", "Usage:\n  /load <modelname>"),
        ("/save", "Usage:\n  /save <modelname>"),
        ("/load nope", "Loading model 'nope'\nCouldn't find model 'nope'"),
        ("/save mine", "Created new model 'mine'"),
        ("/save a//b", "error: The model name 'a//b' is invalid"),
        ("/show license", "Apache License\nVersion 2.0"),
        ("/show template", "{{ .Prompt }}"),
        ("/show system", "You are a helpful AI assistant named SmolLM\n"),
        ("/show modelfile", "FROM smollm2:135m\nPARAMETER temperature 0.7\n"),
    ],
)
def test_what_commands_say(talk: Talk, line: str, text: str) -> None:
    assert talk(line) == f"{text}\n"


@pytest.mark.parametrize(
    ("line", "first", "contains"),
    [
        ("/?", "Available Commands:", "  /? shortcuts    Help for keyboard shortcuts"),
        ("/help", "Available Commands:", 'Use """ to begin a multi-line message.'),
        ("/? set", "Available Commands:", "  /set parameter ...     Set a parameter"),
        ("/set", "Available Commands:", "  /set system <string>   Set system message"),
        ("/? /show", "Available Commands:", "  /show modelfile    Show Modelfile for this model"),
        ("/show", "Available Commands:", "  /show info         Show details for this model"),
        ("/? shortcuts", "Available keyboard shortcuts:", "  Ctrl + d            Exit corral (/bye)"),
        ("/set parameter", "Available Parameters:", "  /set parameter seed <int>             Random number seed"),
        ("/show info", "  Model", "    architecture        llama      "),
        ("/list", "NAME            ID              SIZE     MODIFIED        ", "98 MB"),
    ],
)
def test_what_is_told_at_length(talk: Talk, line: str, first: str, contains: str) -> None:
    text = talk(line)
    assert text.splitlines()[0].rstrip() == first.rstrip()
    assert contains in text


def test_parameters_are_sent_and_shown(corral: Driver, talk: Talk) -> None:
    text = talk("/set parameter num_ctx 512", "/set parameter stop a b", "/show parameters", "hi")
    assert "Model defined parameters:\n  temperature                    0.7\n" in text
    assert f"User defined parameters:\n  {'num_ctx':<30} 512\n  {'stop':<30} a b\n" in text
    assert chats(corral)[-1].options == {"num_ctx": 512, "stop": ["a", "b"]}


def test_a_system_message_is_said_first_and_kept(corral: Driver, talk: Talk) -> None:
    talk("/set system A", '/set system """B', 'C"""', "/show system", "hi", "/clear", "ho")
    assert [one.messages for one in chats(corral)] == [
        (Message("system", "B\nC"), Message("user", "hi")),
        (Message("system", "B\nC"), Message("user", "ho")),
    ]


def test_save_takes_system_parameters_and_conversation_along(corral: Driver, talk: Talk) -> None:
    talk("/set system A", "/set parameter seed 1", "hi", "/save mine")
    request = next(one for one in corral.fake.asked if isinstance(one, CreateRequest))
    assert request == CreateRequest(
        "mine",
        base="smollm2:135m",
        system="A",
        parameters={"seed": 1},
        messages=(Message("user", "hi"), Message("assistant", "t0 t1 t2 ")),
    )


def test_load_turns_to_another_model_with_nothing_said(corral: Driver, talk: Talk) -> None:
    corral.fake.models["other:latest"] = corral.fake.models["smollm2:135m"]
    assert "Loading model 'other'\n" in talk("hi", "/load other", "ho")
    assert (chats(corral)[-1].model, chats(corral)[-1].messages) == ("other", (Message("user", "ho"),))


def test_the_conversation_a_model_carries_is_shown(corral: Driver, talk: Talk) -> None:
    corral.fake = type(corral.fake).with_models("history:latest")
    assert talk(model="history") == ">>> hi\n"


def test_an_answer_that_fails_does_not_end_the_conversation(corral: Driver, talk: Talk) -> None:
    corral.fake.fail_with = RunnerDied("killed")
    text = talk("hi", "/set quiet")
    assert "Error: model runner has unexpectedly stopped" in text
    assert "Set 'quiet' mode." in text


def test_ctrl_c_on_an_empty_line_tells_how_to_leave(talk: Talk) -> None:
    assert talk(end="\x03\x04") == "\nUse Ctrl + d or /bye to exit.\n"


def test_ctrl_c_throws_the_line_away(corral: Driver, talk: Talk) -> None:
    assert talk(end='"""begun\rand\x03\x04') == ""
    assert not chats(corral)


def test_what_is_thought_is_shown_and_sent_along(corral: Driver, talk: Talk) -> None:
    corral.fake.can_think("smollm2:135m")
    corral.fake.thoughts = ("a ", "b")
    text = talk("hi", "/set nothink", "ho", "/set think", "/set think low", "ha", think="high")
    shown = "Thinking...\na b\n...done thinking.\n\nt0 t1 t2 \n\n"
    assert text == (f"{shown}Set 'nothink' mode.\nt0 t1 t2 \n\nSet 'think' mode.\nSet 'think' mode to 'low'.\n{shown}")
    assert [one.think for one in chats(corral)] == ["high", False, "low"]
    assert chats(corral)[-1].messages[1] == Message("assistant", "t0 t1 t2 ", "a b")
    assert talk("hi", hides=True) == "t0 t1 t2 \n\n"


def test_a_model_that_cannot_think_is_not_asked_to_after_a_load(corral: Driver, talk: Talk) -> None:
    corral.fake.models["other:latest"] = corral.fake.models["smollm2:135m"]
    corral.fake.can_think("smollm2:135m")
    talk("hi", "/load other", "ho", think="true")
    assert [one.think for one in chats(corral)] == [True, None]


def history_of(home: Path) -> list[str]:
    return (home / ".ollama" / "history").read_text().splitlines()


def test_history_is_kept_in_a_plain_file(corral: Driver, talk: Talk) -> None:
    talk("one", "/set nohistory", "two", "/set history", "three")
    assert history_of(corral.home) == ["one", "/set nohistory", "three"]
    talk("\x1b[A\x1b[A\x1b[A")
    assert chats(corral)[-1].messages == (Message("user", "one"),)


def test_history_keeps_the_newest_hundred(corral: Driver, talk: Talk) -> None:
    path = corral.home / ".ollama" / "history"
    path.parent.mkdir()
    path.write_text("".join(f"line {number}\n" for number in range(150)))
    talk("newest")
    assert history_of(corral.home) == [*(f"line {number}" for number in range(51, 150)), "newest"]


def test_no_history_where_the_environment_says_so(corral: Driver, talk: Talk) -> None:
    corral.environ = {"OLLAMA_NOHISTORY": "1"}
    talk("one")
    assert not (corral.home / ".ollama").exists()


def test_a_home_that_cannot_be_written_is_no_error(corral: Driver, talk: Talk) -> None:
    (corral.home / ".ollama").write_text("in the way")
    assert talk("one", "two") == "t0 t1 t2 \n\nt0 t1 t2 \n\n"


def test_ctrl_c_ends_an_answer_and_keeps_what_there_is(
    corral: Driver, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    corral.fake.gate = asyncio.Semaphore(2)
    ask = FakeSession.run

    def run(self: FakeSession, work: Coroutine[Any, Any, Any]) -> object:
        """Interrupt as soon as two words are out, as a key would."""

        async def interrupted() -> object:
            task = asyncio.ensure_future(work)
            while not task.done():
                await asyncio.sleep(0)
                if corral.fake.gate is not None and corral.fake.gate.locked() and chats(corral):
                    for _ in range(20):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    raise KeyboardInterrupt
            return task.result()

        return ask(self, interrupted())

    monkeypatch.setattr(FakeSession, "run", run)
    assert talk("hi", "/clear") == "t0 t1 \n\nCleared session context\n"
    assert corral.fake.closed == 1
