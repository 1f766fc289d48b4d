"""What the Chat screen says while one waits, and of what was cut."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, RequestState, RequestView
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.screens.chat import ChatScreen
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench

CUT = "the prompt is longer than the context: 812 tokens were cut"
HOSTILE = "option '[@click=app.exit]x[/]\x1b[2J' is unknown"


def chat_screen(app: WorkbenchApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def row(app: WorkbenchApp, **fields: object) -> RequestView:
    """The row of the answer that is coming in."""
    request_id = chat_screen(app).chats.current.turns[-1].request_id
    view = RequestView(
        request_id, "tui", "POST", "/api/chat", "smollm2:135m", RequestState.LOADING, started_wall_s=0.0, started_s=10.0
    )
    return replace(view, **fields)


def show(app: WorkbenchApp, client: FakeClient, view: RequestView) -> None:
    client.snapshot = replace(EMPTY, requests=(view,), serving="127.0.0.1:11434")
    app.refresh_now()


@pytest.mark.parametrize("size", SIZES)
async def test_who_waits_sees_how_far_load_and_prompt_are(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: chat_screen(app).chats.current.is_live)
        show(app, client, row(app))
        await until(pilot, lambda: "◐ loading the model" in picture(app))
        show(app, client, row(app, load_fraction=0.42))
        await until(pilot, lambda: "◐ loading 42 %" in picture(app))
        show(app, client, row(app, state=RequestState.PREFILL, prompt_done=1234, prompt_tokens=4000))
        await until(pilot, lambda: "◔ reading the prompt 1,234 of 4,000" in picture(app))


@pytest.mark.parametrize("size", SIZES)
async def test_every_warning_is_a_line_of_the_answer(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.warnings = (CUT, HOSTILE)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        drawn = picture(app)
        assert "! the prompt is longer than the context" in drawn
        assert "! option '[@click=app.exit]x[/]" in drawn
        assert "\x1b" not in drawn
        assert "t0 t1 t2" in drawn


async def test_a_warning_is_seen_while_the_answer_comes_in_and_after_it_is_stopped() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.gate = asyncio.Semaphore(0)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(chat_screen(app).chats.current.model))
        await pilot.press("x", "enter")
        await until(pilot, lambda: chat_screen(app).chats.current.is_live)
        show(app, client, row(app, state=RequestState.DECODE, warnings=(CUT, HOSTILE)))
        await until(pilot, lambda: f"! {CUT}" in picture(app) and "[@click=app.exit]" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "⏹ stopped" in picture(app))
        assert f"! {CUT}" in picture(app)
        assert [turn.warnings for turn in chat_screen(app).chats.current.turns] == [(), (CUT, HOSTILE)]
