"""What a model thought, on the Chat screen: a line that can be opened, never part of the answer."""

from __future__ import annotations

import asyncio

import pytest

from corral.runtime.verbs import ChatRequest, Message
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.screens.chat import ChatScreen
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets.thoughts import thoughts
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench

THOUGHTS = ("First\x1b[2J things.\n", "Then [b]more[/b]", " of them.")


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def thinker() -> FakeClient:
    client = FakeClient.with_models("qwen3:1.7b")
    client.can_think("qwen3:1.7b")
    client.thoughts = THOUGHTS
    client.gate = asyncio.Semaphore(0)
    return client


@pytest.mark.parametrize("size", SIZES)
async def test_thoughts_stream_in_one_line_and_open(size: tuple[int, int]) -> None:
    client = thinker()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        client.release(2)
        await until(pilot, lambda: "▸ thinking…" in picture(app) and "· Then [b]more[/b]" in picture(app))
        assert "First" not in picture(app)
        await pilot.press("tab", "o")
        await until(pilot, lambda: "▾ thinking…" in picture(app) and "│ First␛[2J things." in picture(app))
        client.release(2)
        await until(pilot, lambda: "│ Then [b]more[/b] of them." in picture(app) and "t0" in picture(app))
        assert "▾ thought for" in picture(app)
        client.release(9)
        await until(pilot, lambda: "tok/s · ttft" in picture(app) and "· 3 tokens" in picture(app))
        assert "│ First␛[2J things." in picture(app)
        await pilot.press("o")
        await until(pilot, lambda: "▸ thought for" in picture(app))
        assert "First" not in picture(app)
        assert "t0 t1 t2" in picture(app)


async def test_thoughts_go_back_with_the_conversation_and_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(WorkbenchApp, "copy_to_clipboard", lambda app, text: copied.append(text))
    client = thinker()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        client.release(99)
        await pilot.press("x", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press("escape", "y")
        await until(pilot, lambda: copied == ["t0 t1 t2 "])
        await pilot.press("i", "y", "enter")
        await until(pilot, lambda: len(chat_screen(app).chats.current.turns) == 4)
        await until(pilot, lambda: len(client.asked) == 2)
    asked = client.asked[-1]
    assert isinstance(asked, ChatRequest)
    assert asked.messages[1] == Message("assistant", "t0 t1 t2 ", "".join(THOUGHTS))


async def test_an_answer_stopped_among_its_thoughts_keeps_them() -> None:
    client = thinker()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        client.release(1)
        await until(pilot, lambda: "▸ thinking…" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "⏹ stopped" in picture(app))
        assert "▸ thought for" in picture(app)


def test_the_line_says_how_long_and_how_much() -> None:
    turn = Turn("assistant", 0.0, "yes", thinking="hm\n", thought_s=3.2)
    assert thoughts(turn, 80, is_open=False).plain == "▸ thought for 3.20s"
    assert thoughts(turn, 80, is_open=True).plain == "▾ thought for 3.20s\n│ hm"
    live = Turn("assistant", 0.0, "", TurnState.LIVE, thinking="a" * 300, thought_s=3.2)
    assert len(thoughts(live, 40, is_open=False).plain) == 40
    assert thoughts(Turn("user", 0.0, "q"), 80, is_open=True).plain == ""
