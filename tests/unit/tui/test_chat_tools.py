"""Calls of an answer, each with a result of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from textual.pilot import Pilot

from corral.runtime.verbs import ChatRequest, ToolCall
from corral.store.sessions import Attached
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.chats import Queued
from corral.tui.exporting import ExportFormat, export_text
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.tool_calls import tool_result_lines
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, until, workbench
from tests.unit.tui.test_chat_keys import chat_screen

CALLS = (ToolCall("weather", {"city": "Kiel"}, "c1"), ToolCall("tide", {"at": "noon"}, "c2"))


def calling() -> FakeClient:
    client = FakeClient.with_models("smollm2:135m")
    client.can_call("smollm2:135m")
    client.calls, client.words = CALLS, ("Looking. ",)
    return client


async def say(pilot: Pilot[Any], app: WorkbenchApp, text: str) -> None:
    box = app.screen.query_one(PromptBox)
    box.put(text)
    await pilot.press("enter")
    await until(pilot, lambda: box.text == "")


@pytest.mark.parametrize("size", SIZES)
async def test_every_call_gets_its_own_result_in_order(size: tuple[int, int]) -> None:
    client = calling()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        chat = chat_screen(app).chat
        chat.settings.tools = ({"type": "function", "function": {"name": "weather"}},)
        await say(pilot, app, "how is it?")
        await until(pilot, lambda: '▸ wants weather(city="Kiel")' in picture(app))
        await until(pilot, lambda: "/result TEXT says what weather gave back, 1 more to come" in picture(app))
        await say(pilot, app, "/result wet")
        await until(pilot, lambda: '▸ ✓ called weather(city="Kiel")' in picture(app))
        assert '▸ wants tide(at="noon")' in picture(app)
        await until(pilot, lambda: "/result TEXT says what tide gave back" in picture(app))
        assert len([one for one in client.asked if isinstance(one, ChatRequest)]) == 1
        client.calls, client.words = (), ("Fine.",)
        await say(pilot, app, "/result low")
        await until(pilot, lambda: "Fine." in picture(app) and not chat.is_live)
        request = client.asked[-1]
        assert isinstance(request, ChatRequest)
        given = [(one.tool_name, one.tool_call_id, one.content) for one in request.messages if one.role == "tool"]
        assert given == [("weather", "c1", "wet"), ("tide", "c2", "low")]
        await say(pilot, app, "/result more")
        await until(pilot, lambda: "No call of the last answer" in picture(app))
        said = json.loads(export_text(chat, ExportFormat.LINES))["messages"]
        assert [one["role"] for one in said] == ["user", "assistant", "tool", "tool", "assistant"]
        assert said[1]["tool_calls"][1]["function"] == {"name": "tide", "arguments": '{"at": "noon"}'}
        assert said[3]["tool_call_id"] == "c2"


async def test_a_result_in_other_words_waits_for_the_others() -> None:
    client = calling()
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        screen = chat_screen(app)
        screen.chat.settings.tools = ({"type": "function", "function": {"name": "weather"}},)
        await say(pilot, app, "how is it?")
        await until(pilot, lambda: len(screen.chat.open_calls) == 2)
        await say(pilot, app, "/result wet")
        screen.chat.queue.append(Queued("and then?"))
        screen.show_chats()
        await until(pilot, lambda: "sent when tide has its result" in picture(app))
        screen.chat.edit(screen.chat.end, "dry", screen.link, 0.0)
        assert not screen.chat.is_live
        assert [call.name for call in screen.chat.open_calls] == ["tide"]
        assert not screen.chat.again(screen.link, 0.0)


async def test_calls_are_seen_while_the_answer_goes_on() -> None:
    client = calling()
    app = workbench(client, Where.CHAT)
    client.gate = asyncio.Semaphore(0)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        screen = chat_screen(app)
        await say(pilot, app, "how is it?")
        await until(pilot, lambda: screen.transcript.live is not None)
        live = screen.chat.live_turn
        assert live is not None
        live.tool_calls = CALLS[:1]
        client.release()
        await until(pilot, lambda: '▸ wants weather(city="Kiel")' in picture(app))


def test_a_long_result_is_folded_and_json_is_put_in_order() -> None:
    rows = "\n".join(f"row {number}" for number in range(9))
    assert tool_result_lines(rows, is_open=False).plain == "row 0\nrow 1\nrow 2\n… 6 more lines, o opens them"
    assert tool_result_lines(rows, is_open=True).plain == rows
    assert tool_result_lines('{"a":[1]}', is_open=True).plain == '{\n  "a": [\n    1\n  ]\n}'
    assert tool_result_lines("{no json", is_open=True).plain == "{no json"


async def test_images_go_with_the_lines_for_openai() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        chat = chat_screen(app).chat
        chat.ask("what is it?", chat_screen(app).link, 0.0, (Attached("cat.gif", b"GIF89a", is_image=True),))
        said = json.loads(export_text(chat, ExportFormat.LINES))["messages"][0]
        assert said["content"][1]["image_url"]["url"] == "data:image/gif;base64,R0lGODlh"
