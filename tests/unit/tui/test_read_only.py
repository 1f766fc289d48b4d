"""Looking without touching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

import pytest
from rich.style import Style

from corral.runtime.upkeep import Upkeep
from corral.runtime.verbs import ChatRequest, Client, Message
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.read_only import CHANGING, ReadOnly, guarded
from corral.tui.widgets.key_line import KeyLine
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment
from tests.fakes.screen import picture, until, workbench

MODEL = "smollm2:135m"


def faint(app: WorkbenchApp) -> set[str]:
    """The keys of the footer that are drawn as of no use."""
    line = app.screen_stack[0].query_one(KeyLine)
    drawn = line.render()
    dim = {drawn.plain[at.start : at.end].strip() for at in drawn.spans if isinstance(at.style, Style) and at.style.dim}
    return {key.action.removeprefix("screen.") for key in line._keys if key.does in dim}


async def collect(stream: AsyncIterable[object]) -> list[object]:
    return [one async for one in stream]


async def test_what_changes_is_refused_and_the_rest_works() -> None:
    client = FakeClient.with_models(MODEL)
    looking = guarded(client, read_only=True)
    assert guarded(client, read_only=False) is client
    for stream in (looking.pull("x"), looking.push(MODEL)):
        with pytest.raises(ReadOnly):
            await collect(stream)
    for verb in (looking.delete(MODEL), looking.copy(MODEL, "b"), looking.unload(MODEL), looking.cancel("r1")):
        with pytest.raises(ReadOnly):
            await verb
    assert list(client.models) == [MODEL]
    assert client.canceled == []
    assert [one.name for one in await looking.list_models()] == [MODEL]
    assert await collect(looking.chat(ChatRequest(MODEL, (Message("user", "hi"),))))


def test_every_verb_is_known_to_change_something_or_not() -> None:
    """A verb that is added must be sorted into one of both."""
    harmless = {
        *("latest", "version", "list_models", "show", "loaded", "chat", "generate", "embed", "rerank"),
        *("tokenize", "detokenize", "plan_delete", "has_blob", "recorded"),
        *("fits", "plan_load", "plan_pull", "unfinished_pulls", "verify", "plan_cleanup", "settings"),
    }
    verbs = {name for kind in (Client, Upkeep) for name in vars(kind) if not name.startswith("_")}
    assert verbs - CHANGING == harmless


async def test_a_key_that_would_change_something_says_why_not() -> None:
    client = FakeClient.with_models(MODEL)
    app = workbench(client, Where.MODELS)
    app.link = ServiceLink(guarded(client, read_only=True), asyncio.get_running_loop())
    app.is_read_only = True
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: MODEL in picture(app))
        await until(pilot, lambda: "[RO]" in picture(app).splitlines()[0])
        await pilot.press("u")
        await until(pilot, lambda: "read-only" in picture(app))
        assert {"pull", "delete", "unload"} <= faint(app)
        assert "open" not in faint(app)
        app.clear_notifications()
        await pilot.press("d")
        await until(pilot, lambda: "read-only" in picture(app))
        assert not app.screen.is_modal


async def test_keys_of_what_is_not_there_are_faint_and_say_why() -> None:
    client = FakeClient()
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: {"unload", "pin", "extend", "cancel"} == faint(app))
        await pilot.press("P")
        await until(pilot, lambda: "no model is in memory" in picture(app))
        client.snapshot = moment()
        await until(pilot, lambda: "unload" not in faint(app))
        await pilot.press("f6")
        await until(pilot, lambda: "cancel" in faint(app) or "cancel" in picture(app).splitlines()[-1])
        await pilot.press("f3")
        await until(pilot, lambda: {"open", "load", "mark", "edit"} <= faint(app))
        await pilot.press("enter")
        await until(pilot, lambda: "no model is under the cursor" in picture(app))


async def test_a_server_elsewhere_keeps_no_bodies_and_its_key_says_so() -> None:
    app = workbench(FakeClient(), Where.SERVER)
    app.link.place = "http://10.0.0.5:11434"
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: {"open", "cancel", "curl", "bodies"} == faint(app))
        await pilot.press("W")
        await until(pilot, lambda: "only the workbench that serves" in picture(app))
