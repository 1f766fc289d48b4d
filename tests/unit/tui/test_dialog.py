"""Dialogs that are dismissed more than once, as keys that come together do."""

from __future__ import annotations

from textual.widgets import Input

from corral.tui.actions import Where
from corral.tui.dialogs.command_line import CommandLine
from corral.tui.dialogs.confirm import ConfirmDialog
from tests.fakes.client import FakeClient
from tests.fakes.screen import picture, until, workbench


async def test_a_line_that_arrives_behind_escape_takes_no_other_screen_away() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.screen, CommandLine) and bool(app.screen.query(Input)))
        dialog = app.screen
        assert isinstance(dialog, CommandLine)
        line = dialog.query_one(Input)
        dialog.post_message(Input.Submitted(line, "doctor"))
        dialog.action_close()
        await until(pilot, lambda: not dialog.is_attached)
        assert len(app.screen_stack) == 1
        assert not app.screen.is_modal


async def test_a_dialog_below_another_does_not_take_that_away() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        below, above = ConfirmDialog("below", ["?"], "Yes"), ConfirmDialog("above", ["?"], "Yes")
        answers: list[bool | None] = []
        await app.push_screen(below, answers.append)
        await app.push_screen(above)
        below.dismiss(True)
        await pilot.pause()
        assert app.screen is above
        assert answers == []
        above.dismiss(True)
        above.dismiss(True)
        await until(pilot, lambda: app.screen is below)
