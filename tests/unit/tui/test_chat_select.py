"""Lines of a conversation selected by keys, and copied."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.widgets.transcript import Transcript
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, picture, strips, until, workbench
from tests.unit.tui.test_chat_keys import CODE, chat_screen, copied


async def answered(pilot: Pilot[Any], app: WorkbenchApp, question: str = "what?") -> None:
    await until(pilot, lambda: "Prompt to smollm2" in picture(app))
    await pilot.press(*question, "enter")
    await until(pilot, lambda: "tok/s · ttft" in picture(app) and not chat_screen(app).chats.live)
    await pilot.press("escape")


def reversed_rows(app: WorkbenchApp) -> list[str]:
    """What of the conversation is drawn in reverse, row by row."""
    inside = app.screen.query_one(Transcript).content_region
    shown = [strip.crop(inside.x, inside.right) for strip in strips(app)[inside.y : inside.bottom]]
    rows = ("".join(one.text for one in strip if one.style and one.style.reverse) for strip in shown)
    return [row.strip(" ") for row in rows if row]


@pytest.mark.parametrize("size", SIZES)
async def test_lines_are_selected_and_copied(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = (CODE,)
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=size) as pilot:
        await answered(pilot, app)
        texts = copied(app)
        await pilot.press("V")
        await until(pilot, lambda: "1 line selected · j k select · y copies · Esc leaves" in picture(app))
        assert "tok/s" in reversed_rows(app)[0]
        await pilot.press("k", "up", "k", "k", "j")
        await until(pilot, lambda: "4 lines selected" in picture(app))
        assert len(reversed_rows(app)) == 4  # the empty line too can be seen
        await pilot.press("y")
        await until(pilot, lambda: len(texts) == 1)
        assert texts[0].split("\n")[:3] == ["", "╭ sh", "ls"]
        await until(pilot, lambda: "selected" not in picture(app) and reversed_rows(app) == [])


async def test_a_selection_goes_over_messages_from_the_one_that_is_chosen() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await answered(pilot, app)
        texts = copied(app)
        await pilot.press("K", "K", "V", "j", "j", "j", "c")
        said = texts[0].split("\n")
        assert (said[1], said[3], len(said)) == ("what?", "t0 t1 t2", 4)
        await pilot.press("V", "G", "g")
        await until(pilot, lambda: "1 line selected" in picture(app))
        await pilot.press("G")
        await until(pilot, lambda: "5 lines selected" in picture(app))


@pytest.mark.parametrize("leave", ["escape", "V", "o"])
async def test_a_selection_is_left_and_the_answer_goes_on(leave: str) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await answered(pilot, app)
        await pilot.press("V", "k")
        await until(pilot, lambda: "2 lines selected" in picture(app))
        await pilot.press(leave)
        await until(pilot, lambda: "selected" not in picture(app) and reversed_rows(app) == [])
        await pilot.press("r")
        await until(pilot, lambda: "[2/2]" in picture(app))


async def test_what_is_selected_scrolls_into_view() -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.words = [f"line {number}\n\n" for number in range(60)]
    app = workbench(client, Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await answered(pilot, app)
        await pilot.press("V")
        for _ in range(4):
            await pilot.press("ctrl+u")
        selection = app.screen.query_one(Transcript).selection
        assert selection is not None
        said, line = selection.end
        await until(pilot, lambda: said.lines[line] in picture(app) or not said.lines[line])
        await pilot.press("g")
        await until(pilot, lambda: "you " in picture(app) and "line 59" not in picture(app))


async def test_an_empty_chat_has_nothing_to_select() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("escape", "V")
        assert app.screen.query_one(Transcript).selection is None
