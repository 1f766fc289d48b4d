"""What is told in passing: where it stands, and how long."""

from __future__ import annotations

from corral.tui.actions import Where
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.request import RequestDialog
from corral.tui.screens.models import ModelsScreen
from corral.tui.screens.server import ServerScreen
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment, request
from tests.fakes.screen import picture, until, workbench


async def test_a_notice_is_one_line_above_the_keys_and_leaves_the_prompt_free() -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.CHAT)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to a:1" in picture(app))
        await pilot.press(*"what I type", "ctrl+c")
        await until(pilot, lambda: "leaves the workbench" in picture(app))
        rows = picture(app).splitlines()
        assert [number for number, row in enumerate(rows) if "▌" in row] == [22]
        assert "what I type" in rows[21]
        assert rows[23].startswith("⏎ send")


async def test_what_is_undone_no_longer_says_that_it_can_be() -> None:
    client = FakeClient.with_models("a:1")
    app = workbench(client, Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, ModelsScreen)
        await until(pilot, lambda: list(screen.table.keys_shown) == ["a:1"])
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "U undoes it" in picture(app))
        await pilot.press("U")
        await until(pilot, lambda: "kept a:1" in picture(app))
        await until(pilot, lambda: "U undoes it" not in picture(app))


async def test_what_one_key_brought_about_stays_together_and_nothing_is_said_twice() -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("escape")
        for told in ("first", "second", "first"):
            app.notify(told)
        await until(pilot, lambda: picture(app).count("▌") == 2)
        app.notify("no room", severity="error")
        app.notify("little room", severity="warning")
        await pilot.press("escape")
        app.notify("third")
        await until(pilot, lambda: "▌ third" in picture(app) and "first" not in picture(app))
        assert "▌ ✗ no room" in picture(app)
        assert "▌ ! little room" in picture(app)


async def test_a_dialog_keeps_its_keys_in_sight() -> None:
    client = FakeClient.with_models("a:1")
    client.snapshot = moment(requests=(request(1),))
    app = workbench(client, Where.SERVER)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, ServerScreen)
        await until(pilot, lambda: "/api/chat" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RequestDialog))
        app.notify("something that is told meanwhile, at some length")
        await until(pilot, lambda: "▌" in picture(app))
        rows = picture(app).splitlines()
        assert "something that is told" in rows[1]
        assert any("Esc close" in row for row in rows)


async def test_a_dialog_takes_along_what_was_told_on_the_screen_behind_it() -> None:
    app = workbench(FakeClient.with_models("a:1"), Where.MODELS)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, ModelsScreen)
        await until(pilot, lambda: list(screen.table.keys_shown) == ["a:1"])
        app.notify("told before", timeout=60)
        await until(pilot, lambda: "▌ told before" in picture(app).splitlines()[22])
        await pilot.press("?")
        await until(pilot, lambda: "▌ told before" in picture(app).splitlines()[1])
        await until(pilot, lambda: picture(app).count("told before") == 1, within_s=5)
        app.notify("told above", timeout=60)
        await until(pilot, lambda: picture(app).count("told above") == 1)
        await pilot.press("escape")
        await until(pilot, lambda: "▌ told above" in picture(app).splitlines()[22])
