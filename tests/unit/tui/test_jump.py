"""Letters on panes."""

from __future__ import annotations

import pytest

from corral.tui.actions import Where
from corral.tui.jump import JumpLabels
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment
from tests.fakes.screen import SIZES, picture, until, workbench


@pytest.mark.parametrize("size", SIZES)
async def test_a_letter_goes_to_its_pane(size: tuple[int, int]) -> None:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = moment()
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "qwen3:8b" in picture(app))
        order = [widget.id for widget in app.screen.focus_chain if widget.region.area]
        assert len(order) > 1
        await pilot.press("semicolon")
        await until(pilot, lambda: isinstance(app.screen, JumpLabels) and " b " in picture(app))
        await pilot.press("b")
        await until(pilot, lambda: app.focused is not None and app.focused.id == order[1])
        await pilot.press("semicolon")
        await until(pilot, lambda: isinstance(app.screen, JumpLabels))
        await pilot.press("f6")
        await until(pilot, lambda: not app.screen.is_modal)
        assert app.current_mode == Where.RUNNING, "while letters are shown no other key acts"
