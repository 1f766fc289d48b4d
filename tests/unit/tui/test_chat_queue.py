"""What is sent while an answer comes in, what is typed and not sent, and answers by another model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from corral.runtime.errors import RunnerDied
from corral.runtime.verbs import ChatRequest
from corral.store.sessions import SavedSession, SavedTurn, SessionStore
from corral.tui.actions import Where
from corral.tui.session_keeper import sessions_path
from corral.tui.widgets.prompt_box import PromptBox
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench
from tests.unit.tui.test_chat_keys import chat_screen


def gated(*models: str) -> FakeClient:
    client = FakeClient.with_models(*(models or ("smollm2:135m",)))
    client.gate = asyncio.Semaphore(0)
    return client


def questions(client: FakeClient) -> list[str]:
    return [one.messages[-1].content for one in client.asked if isinstance(one, ChatRequest)]


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_sent_while_an_answer_comes_in_waits_and_is_seen(size: tuple[int, int]) -> None:
    client = gated()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        for question in ("one", "two", "three"):
            await pilot.press(*question, "enter")
        await until(pilot, lambda: "◔ queued  two" in picture(app) and "◔ queued  three" in picture(app))
        assert "sent when the answer has ended" in picture(app)
        assert questions(client) == ["one"]
        client.release(3)
        await until(pilot, lambda: questions(client) == ["one", "two"])
        await until(pilot, lambda: "queued  two" not in picture(app) and "queued  three" in picture(app))
        client.release(9)
        await until(pilot, lambda: not chat_screen(app).chats.live and "queued" not in picture(app))
        assert [turn.text for turn in chat_screen(app).chat.turns][::2] == ["one", "two", "three"]


async def test_escape_brings_back_what_waits() -> None:
    client = gated()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"one", "enter", *"two", "enter", *"thr", "escape")
        await until(pilot, lambda: "⏹ stopped" in picture(app) and "queued" not in picture(app))
        assert app.screen.query_one(PromptBox).text == "two\n\nthr"
        assert questions(client) == ["one"]


async def test_an_answer_that_fails_brings_back_what_waits() -> None:
    client = gated()
    client.fail_with = RunnerDied("oops")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"one", "enter", *"two", "enter")
        await until(pilot, lambda: "queued  two" in picture(app))
        client.release()
        await until(pilot, lambda: app.screen.query_one(PromptBox).text == "two" and "queued" not in picture(app))


async def test_each_chat_has_its_own_draft() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        box = app.screen.query_one(PromptBox)
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press(*"half of", "escape", "a")
        await until(pilot, lambda: len(chat_screen(app).chats.all) == 2 and box.text == "")
        await pilot.press(*"other", "f3")
        await until(pilot, lambda: "[2 Models]" in picture(app))
        await pilot.press("f2")
        await until(pilot, lambda: box.text == "other" and "[1 Chat]" in picture(app))
        await pilot.press("escape", "comma")
        await until(pilot, lambda: box.text == "half of")


async def test_a_draft_is_there_tomorrow(tmp_path: Path) -> None:
    path = sessions_path({"HOME": str(tmp_path)})
    assert path is not None
    store = SessionStore(path)
    store.save(SavedSession("c0", "sea", "smollm2:135m", 1.0, 2.0), [SavedTurn("t0", "", 0, True, "user", "sea")])
    store.close()
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "○ sea" in picture(app))
        await pilot.press("escape", "comma")
        await until(pilot, lambda: "you " in picture(app))
        await pilot.press("i", *"half")
    again = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with again.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "○ sea" in picture(again))
        await pilot.press("escape", "comma")
        await until(pilot, lambda: again.screen.query_one(PromptBox).text == "half")


async def test_what_was_typed_in_an_empty_chat_is_there_tomorrow_until_it_is_taken_away(tmp_path: Path) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"half")
        await until(pilot, lambda: chat_screen(app).chat.draft == "half")
    again = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with again.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(chat_screen(again).chats.all) == 2)
        box = again.screen.query_one(PromptBox)
        await pilot.press("escape", "comma")
        await until(pilot, lambda: box.text == "half" and chat_screen(again).chat.is_there)
        box.focus()
        await pilot.press(*["backspace"] * 4)
        await until(pilot, lambda: chat_screen(again).chat.draft == "")
    path = sessions_path({"HOME": str(tmp_path)})
    assert path is not None
    assert SessionStore(path).sessions() == ()


async def test_what_waits_in_a_chat_that_is_not_shown_is_there_tomorrow(tmp_path: Path) -> None:
    app = workbench(gated(), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"one", "enter", *"two", "enter", *"thr")
        await until(pilot, lambda: "queued  two" in picture(app))
        chat_screen(app).transcript.focus()
        await pilot.press("a")
        await until(pilot, lambda: len(chat_screen(app).chats.all) == 2)
    path = sessions_path({"HOME": str(tmp_path)})
    assert path is not None
    assert [one.settings.get("draft") for one in SessionStore(path).sessions()] == ["two\n\nthr"]


async def test_another_model_answers_once() -> None:
    client = FakeClient.with_models("smollm2:135m", "qwen3:8b")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"who", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press("escape", "A")
        await until(pilot, lambda: "Answered again by which model?" in picture(app))
        await pilot.press(*"qwen", "down", "enter")
        await until(pilot, lambda: "[2/2]" in picture(app) and not chat_screen(app).chats.live)
        asked = [one.model for one in client.asked if isinstance(one, ChatRequest)]
        assert asked == ["smollm2:135m", "qwen3:8b"]
        assert chat_screen(app).chat.model == "smollm2:135m"
        assert [turn.model for turn in chat_screen(app).chat.turns[0].children] == asked
        await pilot.press("i", *"/regen nobody", "enter")
        await until(pilot, lambda: "Couldn't find model 'nobody'" in picture(app))


@pytest.mark.parametrize("size", SIZES)
async def test_of_two_models_answers_those_with_the_focus_scroll(size: tuple[int, int]) -> None:
    client = gated("smollm2:135m", "qwen3:8b")
    client.words = [f"line {number}\n\n" for number in range(40)]
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        screen = chat_screen(app)
        screen.compare("qwen3:8b")
        await until(pilot, lambda: screen.twin_pane is not None)
        await pilot.press(*"who", "enter")
        client.release(90)
        await until(pilot, lambda: len(client.asked) == 2 and not screen.is_answering(screen.chat))
        first, second = screen.transcript, screen.twin_pane
        assert second is not None
        await until(pilot, lambda: first.max_scroll_y > 0 and first.lines_below == second.lines_below == 0)
        await pilot.press("escape", "tab")
        await until(pilot, lambda: app.focused is second)
        await pilot.press("k", "k")
        await until(pilot, lambda: (first.lines_below, second.lines_below) == (0, 2))
        assert "↓ 2 lines below" in picture(app)
        await pilot.press("V", "k")
        await until(pilot, lambda: (first.selection, second.selection is not None) == (None, True))
        client.gate = asyncio.Semaphore(0)
        await pilot.press("escape", "i", *"more", "enter")
        await until(pilot, lambda: len(client.asked) == 4)
        client.release(4)
        await until(pilot, lambda: all(pane.live is not None for pane in (first, second)))
        await pilot.press("escape")
        await until(pilot, lambda: picture(app).count("⏹ stopped") == 2 and client.closed == 2)
