"""`:undo`, wherever it is typed."""

from __future__ import annotations

import pytest

from corral.runtime.snapshot import ModelState
from corral.tui.actions import Where
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.screens.models import ModelsScreen
from corral.tui.screens.running import RunningScreen
from tests.fakes.client import FakeClient
from tests.fakes.moment import model, moment
from tests.fakes.screen import picture, until, workbench
from tests.unit.tui.test_command_line import typed


@pytest.mark.parametrize("where", [Where.CHAT, Where.MODELS, Where.RUNNING, Where.FILE, Where.SERVER])
async def test_what_was_deleted_comes_back_from_every_screen(where: Where) -> None:
    client = FakeClient.with_models("a:1", "b:1")
    await client.trash(["b:1"])
    app = workbench(client, where)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("escape")
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "b:1 is back" in picture(app))
        assert (app.current_mode, sorted(client.models)) == (where, ["a:1", "b:1"])
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "nothing to undo" in picture(app))


async def test_a_deletion_that_waits_is_kept_from_another_screen() -> None:
    client = FakeClient.with_models("a:1")
    client.trash_s = 86400.0
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, ModelsScreen)
        await until(pilot, lambda: list(screen.table.keys_shown) == ["a:1"])
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: bool(screen.doomed))
        await pilot.press("5")
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "kept a:1" in picture(app))
        assert (screen.doomed, list(client.models)) == ([], ["a:1"])


async def test_what_was_done_on_the_screen_itself_comes_first() -> None:
    client = FakeClient.with_models("a:1", "b:1")
    await client.trash(["b:1"])
    client.snapshot = moment(models=(model("a:1", state=ModelState.IDLE, slots_used=0),))
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, RunningScreen)
        await until(pilot, lambda: screen.highlighted_model is not None)
        await pilot.press("u")
        await until(pilot, lambda: "U loads it again" in picture(app))
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "loading a:1" in picture(app))
        await pilot.press("U")
        await until(pilot, lambda: "nothing was unloaded here" in picture(app))
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "b:1 is back" in picture(app))
