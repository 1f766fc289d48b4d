"""Changing screens: the others are there before they are asked for, and a change works nothing out anew."""

from __future__ import annotations

import gc
import time
from collections import Counter
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget

from corral.tui import ahead
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.compositing import ChangedRows
from corral.tui.dialogs.help import HelpDialog
from corral.tui.screens.base import WorkbenchScreen
from corral.tui.screens.calling import CallingScreen
from corral.tui.screens.server import ServerScreen
from corral.tui.widgets.key_line import KeyLine
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.plain_rows import PlainRows
from tests.fakes.scenes import SCENES
from tests.fakes.screen import picture, until, workbench
from tests.waiting import until as holds

LATER = (Where.MODELS, Where.RUNNING, Where.FILE, Where.SERVER)


def opened() -> WorkbenchApp:
    return workbench(SCENES["server"].client(), Where.CHAT)


def composed(app: WorkbenchApp) -> set[str]:
    return set(app._screen_stacks)


async def all_composed(pilot: Pilot[Any], app: WorkbenchApp) -> None:
    await until(pilot, lambda: {*LATER} <= composed(app) and all(app._screen_stacks[one][0].size for one in LATER))


async def test_screens_are_composed_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_REST_S", 0.01)
    app = opened()
    app.composes_ahead = True
    async with app.run_test(size=(120, 36)) as pilot:
        await all_composed(pilot, app)
        assert app.current_mode == Where.CHAT
        assert "[1 Chat]" in picture(app)
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: "[5 Server]" in picture(app) and "METHOD" in picture(app))


async def test_an_end_while_screens_are_composed_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_REST_S", 0.0)
    app = opened()
    app.composes_ahead = True
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(composed(app) & {*LATER}))
        assert {*LATER} - composed(app), "some are left to compose"
        prune = app._prune

        async def late(screen: Widget) -> None:
            known = composed(app)
            await holds(lambda: composed(app) != known or all(one.is_finished for one in app.workers))
            await prune(screen)

        monkeypatch.setattr(app, "_prune", late)


async def test_none_is_composed_while_somebody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_REST_S", 1000.0)
    app = opened()
    app.composes_ahead = True
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: any(one.group == "ahead" for one in app.workers))
        before_s = app.touched_s
        await pilot.press("x")
        await until(pilot, lambda: app.touched_s > before_s)
        assert composed(app) & {*LATER} == set()


@pytest.mark.parametrize("types", [False, True])
async def test_nothing_unseen_is_drawn_while_somebody_types(types: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_REST_S", 0.01)
    drawn: list[WorkbenchScreen] = []
    monkeypatch.setattr(WorkbenchScreen, "draw_unseen", lambda screen: drawn.append(screen))
    app = opened()
    app.composes_ahead = True
    compose = app.compose_mode

    async def composed_while_somebody_types(mode: str) -> WorkbenchScreen:
        screen = await compose(mode)
        app.touched_s += 1000.0 if types else 0.0
        return screen

    monkeypatch.setattr(app, "compose_mode", composed_while_somebody_types)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.touched_s > time.monotonic() if types else len(drawn) == len(app.MODES))
        await pilot.pause(0.1)
        assert bool(drawn) is not types


async def test_a_screen_finds_its_styles_and_draws_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    changed, held_back = [], []
    update_classes, render_update = WorkbenchScreen.update_classes, ChangedRows.render_update

    def watched(self: WorkbenchScreen, *args: Any, **how: Any) -> WorkbenchScreen:
        before = self.classes
        update_classes(self, *args, **how)
        changed.append(self.classes - before)
        return self

    def rendered(self: ChangedRows, *args: Any, **how: Any) -> Any:
        held_back.append(app._batch_count)
        return render_update(self, *args, **how)

    monkeypatch.setattr(WorkbenchScreen, "update_classes", watched)
    monkeypatch.setattr(ChangedRows, "render_update", rendered)
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "[1 Chat]" in picture(app) and bool(changed))
        assert app.screen.has_class("-wide", "-tall")
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: "[5 Server]" in picture(app) and app.screen.has_class("-wide", "-tall"))
    assert not any(changed)
    assert held_back
    assert not any(held_back)


async def test_a_screen_nobody_has_asked_for_does_not_complain() -> None:
    app = opened()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        screen = await app.compose_mode(Where.MODELS)
        assert isinstance(screen, CallingScreen)
        await until(pilot, lambda: bool(screen.size))
        screen.tell_error("the disk is full")
        await pilot.pause()
        assert len(app._notifications) == 0
        await app.action_go(Where.MODELS)
        await until(pilot, lambda: screen.was_seen)
        screen.tell_error("the disk is full")
        await until(pilot, lambda: len(app._notifications) == 1)


async def test_a_change_of_screens_works_no_styles_out(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        read: list[object] = []
        monkeypatch.setattr(app.stylesheet, "reparse", lambda: read.append(None))
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: "METHOD" in picture(app))
        assert read == []
        await app.action_go(Where.CHAT)
        await pilot.pause()
        await app.action_go(Where.SERVER)
        styled: list[object] = []
        apply = app.stylesheet.apply

        def noted(node: Any, **how: Any) -> None:
            styled.append(node)
            apply(node, **how)

        monkeypatch.setattr(app.stylesheet, "apply", noted)
        await until(pilot, lambda: "METHOD" in picture(app) and not app._batch_count)
        await pilot.pause()
        assert len(styled) < len([*app.screen.walk_children()]) / 2


async def test_another_theme_reaches_the_screens_that_are_not_shown() -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: "METHOD" in picture(app))
        before = app.screen.styles.background
        await app.action_go(Where.CHAT)
        app.theme = "corral-light" if "corral-light" in app.available_themes else "textual-light"
        await pilot.pause()
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: app.screen.styles.background != before)


async def test_only_rows_that_changed_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await app.action_go(Where.SERVER)
        screen = app.screen
        assert isinstance(screen, ServerScreen)
        await until(pilot, lambda: "METHOD" in picture(app) and len(screen.table.keys_shown) > 1)
        await pilot.pause()
        drawn: list[int] = []
        draw = PlainRows._draw_row

        def noted(table: PlainRows, row: int, *more: Any, **pointing: Any) -> Any:
            drawn.append(row)
            return draw(table, row, *more, **pointing)

        monkeypatch.setattr(PlainRows, "_draw_row", noted)
        table = screen.table
        cell = table.get_cell_at((1, 0)).copy()  # type: ignore[arg-type]
        cell.plain = "23:59:59"
        table.update_cell(table.keys_shown[1], "time", cell)
        await until(pilot, lambda: "23:59:59" in picture(app))
        assert set(drawn) == {1}


async def test_a_click_on_a_key_of_the_last_line_presses_it() -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await app.action_go(Where.MODELS)
        await until(pilot, lambda: "? help" in picture(app).split("\n")[-1])
        place = picture(app).split("\n")[-1].index("? help")
        await pilot.hover(KeyLine, offset=(place + 2, 0))
        await until(pilot, lambda: bool(app.screen.query_one(KeyLine).tooltip))
        await pilot.click(KeyLine, offset=(place + 2, 0))
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))


async def test_a_change_of_screens_that_fails_leaves_the_next_one_free(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await app.action_go(Where.SERVER)
        await until(pilot, lambda: not app._batch_count)

        def fail(mode: str) -> None:
            raise RuntimeError(mode)

        with monkeypatch.context() as patched:
            patched.setattr(app, "switch_mode", fail)
            with pytest.raises(RuntimeError):
                await app.action_go(Where.CHAT)
        await until(pilot, lambda: not app._batch_count)
        assert not app._is_going
        await app.action_go(Where.CHAT)
        await until(pilot, lambda: "[1 Chat]" in picture(app))


@pytest.mark.parametrize("where", LATER)
async def test_a_first_visit_shows_all_at_once_and_styles_it_once(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened()
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.screen.is_mounted)
        styled: Counter[Any] = Counter()
        apply, display = app.stylesheet.apply, app._display
        frames: list[str] = []

        def noted(node: Any, **how: Any) -> None:
            styled[node] += 1
            apply(node, **how)

        def seen(screen: Any, update: Any) -> None:
            display(screen, update)
            if update is not None and screen is app.screen and app.current_mode == where and not app._batch_count:
                frames.append(picture(app))

        monkeypatch.setattr(app.stylesheet, "apply", noted)
        monkeypatch.setattr(app, "_display", seen)
        await app.action_go(where)
        await until(pilot, lambda: bool(frames))
        assert frames[0].split("\n")[-1].strip()
        assert f"[{[*app.MODES].index(where) + 1} " in frames[0].split("\n")[0]
        assert app.focused is not None
        (focused,) = (one for one in app.focused.ancestors if isinstance(one, Panel))  # its frame is another for that
        others = [one for one in app.screen.walk_children() if focused not in one.ancestors_with_self]
        assert sum(styled[one] > 1 for one in others) < 4  # a text that is typed in, a panel that has nothing


def test_what_lasts_is_made_without_collecting_and_walked_no_more() -> None:
    frozen = gc.get_freeze_count()
    with ahead.lasting():
        assert not gc.isenabled()
        kept = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(kept)
