"""A pane that takes the room of the others."""

from __future__ import annotations

import pytest

from corral.tui.actions import Where
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment
from tests.fakes.screen import SIZES, overflows, picture, until, workbench


@pytest.mark.parametrize("size", SIZES)
async def test_the_log_takes_the_room_of_the_others_and_gives_it_back(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "Requests" in picture(app) and "line 39" in picture(app))
        before = picture(app)
        assert "line 15" not in before
        await pilot.press("tab")
        await until(pilot, lambda: "━ Log" in picture(app))
        await pilot.press("z")
        await until(pilot, lambda: "line 15" in picture(app) and "line 39" in picture(app))
        assert "Requests" not in picture(app)
        assert "z gives the other panes their room back" in picture(app)
        assert overflows(app) == []
        await pilot.press("z")
        await until(pilot, lambda: "Requests" in picture(app) and "Listener" in picture(app))
        assert "line 15" not in picture(app)


async def test_a_chat_keeps_its_prompt() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.CHAT)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "Prompt to smollm2" in picture(app))
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "tok/s · ttft" in picture(app))
        await pilot.press("escape", "z")
        await until(pilot, lambda: "Transfers" not in picture(app))
        await pilot.press("i", "z")
        await until(pilot, lambda: "┃ z" in picture(app))


@pytest.mark.parametrize("where", [Where.MODELS, Where.RUNNING, Where.FILE])
async def test_every_screen_has_a_pane_to_enlarge(where: Where) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, where)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.focused is not None and "━" in picture(app))
        await pilot.press("escape", "z")
        await until(pilot, lambda: "╭" not in picture(app))
        assert overflows(app) == []
        await pilot.press("z")
        await until(pilot, lambda: "╭" in picture(app))
