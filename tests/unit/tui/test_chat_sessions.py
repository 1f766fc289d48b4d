"""Chats that outlive the program: saved while they stream, listed, searched, named, deleted, brought back, exported."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from textual.widgets import OptionList

from corral.store.sessions import FoundSession, SavedSession, SavedTurn, SessionStore
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.dialogs.sessions import SessionChoice, SessionsDialog, SessionVerb
from corral.tui.screens.chat import ChatScreen
from corral.tui.session_keeper import sessions_path
from corral.tui.turns import TurnState
from corral.tui.widgets.prompt_box import PromptBox
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, strips, until, workbench


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def file_below(home: Path) -> Path:
    return home / ".local" / "share" / "corral" / "chats.db"


def stocked(home: Path, *titles: str) -> None:
    store = SessionStore(file_below(home))
    for number, title in enumerate(titles):
        session = SavedSession(f"c{number}", title, "smollm2:135m", 1.0, 100.0 + number)
        question = SavedTurn(f"q{number}", "", 0, True, "user", title, wall_s=float(number))
        answer = SavedTurn(f"a{number}", f"q{number}", 0, True, "assistant", f"Of {title}: [b]gulls[/b].", wall_s=9.0)
        store.save(session, [question, answer])
    store.close()


def saved_texts(home: Path) -> list[str]:
    with sqlite3.connect(file_below(home)) as database:
        rows = database.execute("SELECT text FROM turns ORDER BY number").fetchall()
    database.close()
    return [text for (text,) in rows]


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HOME": "/h"}, Path("/h/.local/share/corral/chats.db")),
        ({"HOME": "/h", "XDG_DATA_HOME": "/d"}, Path("/d/corral/chats.db")),
        ({"HOME": "/h", "CORRAL_NOHISTORY": "1"}, None),
        ({"HOME": "/h", "OLLAMA_NOHISTORY": "true"}, None),
        ({}, None),
    ],
)
def test_where_chats_are_kept(environ: dict[str, str], path: Path | None) -> None:
    assert sessions_path(environ) == path


async def test_an_answer_is_on_disk_before_it_has_ended(tmp_path: Path) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("x", "enter")
        client.release(2)
        await until(pilot, lambda: file_below(tmp_path).exists() and "t0 t1 " in saved_texts(tmp_path))
        client.release(1)
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
    assert saved_texts(tmp_path) == ["x", "t0 t1 t2 "]


async def test_a_chat_of_yesterday_is_opened_and_goes_on(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea", "the land")
    client = FakeClient.with_models("smollm2:135m")
    app = workbench(client, Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(app) and "○ the land" in picture(app))
        await pilot.press("escape", "full_stop")
        await until(pilot, lambda: "Of the land: [b]gulls[/b]." in picture(app))
        await pilot.press("i", *"more", "enter")
        await until(pilot, lambda: "t0 t1 t2" in picture(app) and "tok/s · ttft" in picture(app))
        await pilot.press("escape")
    store = SessionStore(file_below(tmp_path))
    assert [turn.text for turn in store.turns("c1")] == ["the land", "Of the land: [b]gulls[/b].", "more", "t0 t1 t2 "]
    store.close()


async def test_a_new_chat_begins_with_the_model_of_the_last_one(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea")
    app = workbench(FakeClient.with_models("gemma3:1b", "smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        assert chat_screen(app).chat.is_empty


async def test_a_model_that_is_gone_is_none_to_begin_with(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea")
    app = workbench(FakeClient.with_models("gemma3:1b"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(app))
        assert "Prompt to gemma3:1b" in picture(app)


async def test_chats_are_found_renamed_deleted_and_brought_back(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea", "the land")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(app))
        await pilot.press("escape", "h")
        await until(pilot, lambda: "search everything that was said" in picture(app))
        await pilot.press(*"land gul")

        def options() -> int:
            return app.screen.query_one(OptionList).option_count

        await until(pilot, lambda: options() == 1 and "Of the land: [b]gulls[/b]." in picture(app))
        marked = [one.text for strip in strips(app) for one in strip if one.style and one.style.reverse]
        assert [text for text in marked if text in ("land", "gulls")] == ["land", "gulls"]
        await pilot.press("down", "R")
        await until(pilot, lambda: "Name of the chat" in picture(app))
        await pilot.press("end", *"ing", "enter")
        await until(pilot, lambda: "○ the landing" in picture(app))
        await pilot.press("h", *"landing")
        await until(pilot, lambda: "the landing" in picture(app) and options() == 1)
        await pilot.press("down", "d")
        await until(pilot, lambda: "U brings it back" in picture(app))
        assert "○ the landing" not in picture(app)
        await pilot.press("U")
        await until(pilot, lambda: "○ the landing" in picture(app))
        await pilot.press("h", *"of the sea", "enter")
        await until(pilot, lambda: "━ the sea ·" in picture(app) or "─ the sea ·" in picture(app))
        await until(pilot, lambda: "▶ you" in picture(app) or "▶ assistant" in picture(app))
        await until(pilot, lambda: "found in 1 message · n N" in picture(app))
    store = SessionStore(file_below(tmp_path))
    assert {session.title for session in store.sessions()} == {"the sea", "the landing"}
    assert len(store.turns("c1")) == 2
    store.close()


async def test_what_is_opened_is_what_was_typed_however_long_that_is_looked_for() -> None:
    sea, land = (FoundSession(SavedSession(title, title, "m", 1.0, 1.0)) for title in ("the sea", "the land"))
    looks, chosen = asyncio.Event(), list[SessionChoice | None]()

    async def search(words: str) -> list[FoundSession]:
        if words:
            await looks.wait()
        return [one for one in (sea, land) if words in one.session.title]

    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(120, 36)) as pilot:
        app.push_screen(SessionsDialog(search), chosen.append)
        await until(pilot, lambda: "the sea" in picture(app) and "the land" in picture(app))
        await pilot.press(*"land", "enter")
        await pilot.pause()
        assert isinstance(app.screen, SessionsDialog)
        looks.set()
        await until(pilot, lambda: bool(chosen))
    assert chosen == [SessionChoice(SessionVerb.OPEN, land, "land")]


async def test_a_chat_is_put_away_found_and_brought_back(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea", "the land")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(app))
        await pilot.press("escape", "full_stop")
        await until(pilot, lambda: "Of the land" in picture(app))
        await pilot.press("T")
        await until(pilot, lambda: "A lists such chats" in picture(app) and "○ the land" not in picture(app))
        await pilot.press("U")
        await until(pilot, lambda: "○ the land" in picture(app))
        await pilot.press("T")
        await until(pilot, lambda: "○ the land" not in picture(app))
    again = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with again.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(again))
        assert "the land" not in picture(again)
        await pilot.press("escape", "h", "down")
        await until(pilot, lambda: "the sea" in picture(again) and "▫" not in picture(again))
        await pilot.press("A")
        await until(pilot, lambda: "▫ the land" in picture(again) and "Archived chats" in picture(again))
        await pilot.press("enter")
        await until(pilot, lambda: "Of the land" in picture(again) and "▫ the land" in picture(again))
        await pilot.press("escape", "h", *"the land", "down", "a")
        await until(pilot, lambda: "listed again" in picture(again) and "○ the land" in picture(again))
    store = SessionStore(file_below(tmp_path))
    assert [one.settings for one in store.sessions()] == [{}, {}]
    store.close()


async def test_an_archived_chat_that_goes_on_is_listed_again(tmp_path: Path) -> None:
    store = SessionStore(file_below(tmp_path))
    store.save(
        SavedSession("c", "x", "smollm2:135m", 1.0, 2.0, {"archived": True}), [SavedTurn("q", "", 0, True, "user", "x")]
    )
    store.close()
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("escape", "h", "down", "A")
        await until(pilot, lambda: "▫ x" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: not app.screen.is_modal and "▫ x" in picture(app))
        await pilot.press("i", *"more", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app) and "○ x" in picture(app))


async def test_what_was_asked_before_is_in_the_prompts_history(tmp_path: Path) -> None:
    stocked(tmp_path, "the sea", "the land")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "○ the sea" in picture(app))
        box = app.screen.query_one(PromptBox)
        await until(pilot, lambda: box._history == ["the sea", "the land"])
        await pilot.press("up", "up")
        await until(pilot, lambda: box.text == "the sea")
        await pilot.press("ctrl+r", *"land")
        await until(pilot, lambda: "Which prompt?" not in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: box.text == "the land")


async def test_a_broken_file_is_said_and_does_not_stop_anybody(tmp_path: Path) -> None:
    file_below(tmp_path).parent.mkdir(parents=True)
    file_below(tmp_path).write_bytes(b"rubbish " * 1000)
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "was broken" in picture(app))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
    assert saved_texts(tmp_path) == ["x", "t0 t1 t2 "]


async def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("in the way")
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "chats cannot be kept in" in picture(app))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        assert chat_screen(app).chats.current.turns[-1].state is TurnState.DONE


async def test_a_chat_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press(*"the sea", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press("escape", "E")
        await until(pilot, lambda: "the-sea.md" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / "the-sea.md").exists())
        await pilot.press("i", *"/export json", "enter")
        await until(pilot, lambda: (tmp_path / "the-sea.json").exists())
        await pilot.press(*"/export jsonl a.jsonl", "enter")
        await until(pilot, lambda: (tmp_path / "a.jsonl").exists())
        await pilot.press(*"/export md", "enter")
        await until(pilot, lambda: "is there already" in picture(app))
    text = (tmp_path / "the-sea.md").read_text()
    assert text.startswith("# the sea\n\n## user")
    assert "t0 t1 t2" in text
    whole = json.loads((tmp_path / "the-sea.json").read_text())
    assert [turn["text"] for turn in whole["turns"]] == ["the sea", "t0 t1 t2 "]
    lines = json.loads((tmp_path / "a.jsonl").read_text())
    assert lines["messages"][0] == {"role": "user", "content": "the sea"}
