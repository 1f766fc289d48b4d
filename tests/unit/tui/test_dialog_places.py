"""Where dialogs stand, and what is to be seen of the screen below them."""

from __future__ import annotations

import pytest
from textual.widgets import Input, OptionList

from corral.tui.actions import Where
from corral.tui.dialogs.command_line import CommandLine
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.hosts import HostsDialog
from corral.tui.dialogs.key_report import KeyReport
from corral.tui.dialogs.themes import ThemesDialog
from corral.tui.line_commands import COMMANDS
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, overflows, picture, until, workbench


def rows(text: str) -> list[str]:
    return text.split("\n")


@pytest.mark.parametrize("size", SIZES)
async def test_a_command_is_typed_at_the_bottom_and_hides_nothing_above(size: tuple[int, int]) -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.screen, CommandLine) and rows(picture(app))[-1].startswith(" :"))
        shown = rows(picture(app))
        assert "smollm2:135m" in shown[3]
        proposals = app.screen.query_one(OptionList)
        assert [row.split()[0] for row in shown[-9:-1]] == [one.name for one in COMMANDS[:8]]
        assert proposals.option_count > 8
        assert app.screen.styles.background.a == 0


async def test_themes_are_chosen_at_the_side_of_what_they_colour() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "smollm2:135m" in picture(app))
        app.action_line("theme")
        await until(pilot, lambda: isinstance(app.screen, ThemesDialog) and "↑↓ see" in picture(app))
        assert "smollm2:135m" in rows(picture(app))[3]
        assert rows(picture(app))[2].index("┏━ Theme") > 40
        assert app.screen.styles.background.a == 0


async def test_a_question_stands_in_the_middle_of_a_darker_screen() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(ConfirmDialog("Sure?", ["?"], "Yes"))
        await until(pilot, lambda: "Sure?" in picture(app))
        above = next(number for number, row in enumerate(rows(picture(app))) if "Sure?" in row)
        assert 6 <= above <= 10
        assert 0 < app.screen.styles.background.a < 1


async def test_the_key_report_is_gone_through_by_keys_that_it_names_too() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(KeyReport(app.keys))
        await until(pilot, lambda: "go.chat " in picture(app))
        await pilot.press("pagedown", "down")
        await until(pilot, lambda: "go.chat " not in picture(app) and "pagedown (PgDn)" in picture(app))
        await pilot.press("pageup", "up", "up")
        await until(pilot, lambda: "go.chat " in picture(app))


async def test_what_is_typed_over_the_servers_is_an_address() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, HostsDialog) and isinstance(app.focused, OptionList))
        await pilot.press("j", "k", *"10.0.0.9")
        await until(pilot, lambda: app.screen.query_one(Input).value == "10.0.0.9")
        assert overflows(app) == []
