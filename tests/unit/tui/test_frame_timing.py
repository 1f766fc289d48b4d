"""When screens are drawn: at once where nothing was drawn just now, and else as soon as that has had its rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
from textual.screen import Screen

from corral.tui import frame_timing
from corral.tui.actions import Where
from corral.tui.dialogs.help import HelpDialog
from corral.tui.frame_timing import FrameTimer
from tests.fakes.client import FakeClient
from tests.fakes.screen import until, workbench
from tests.fakes.virtual_time import run_in_no_time

_BEAT_S = 1 / 60


class Sheet:
    """A screen that notes when it is drawn, which takes some time, and may fail."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.is_attached = True
        self.app = SimpleNamespace(is_running=True, _exit=False, _handle_exception=self._told)
        self.drawn_s: list[float] = []
        self.told: list[Exception] = []
        self.fails = False
        self._takes_s = takes_s

    def _told(self, error: Exception) -> None:
        self.told.append(error)

    def _on_timer_update(self) -> None:
        loop = asyncio.get_running_loop()
        self.drawn_s.append(loop.time())
        loop._selector.now += self._takes_s  # type: ignore[attr-defined]
        if self.fails:
            raise ValueError("no such row")


def played(play: Callable[[FrameTimer], Coroutine[Any, Any, None]], sheet: Sheet) -> list[float]:
    """When `sheet` was drawn while `play` was played on its timer."""

    async def main() -> None:
        await play(FrameTimer(cast("Screen[Any]", sheet)))
        await asyncio.sleep(1)

    run_in_no_time(main())
    return sheet.drawn_s


def test_a_change_is_drawn_at_once() -> None:
    async def play(frames: FrameTimer) -> None:
        await asyncio.sleep(0.5)
        frames.resume()
        frames.resume()

    assert played(play, Sheet()) == [pytest.approx(0.5)]


@pytest.mark.parametrize("behind_s", [0.0, 0.001, 0.006])
def test_what_changes_behind_a_frame_is_drawn_with_the_next_which_comes_soon(behind_s: float) -> None:
    async def play(frames: FrameTimer) -> None:
        frames.resume()
        await asyncio.sleep(0.02 + behind_s)  # the frame takes 0.02 s
        frames.resume()
        await asyncio.sleep(0.0005)
        frames.resume()

    first, second = played(play, Sheet(takes_s=0.02))
    assert first + 0.02 < second < first + 0.02 + _BEAT_S
    assert second == pytest.approx(first + 0.02 + frame_timing._REST_S)


def test_a_frame_that_has_had_its_rest_holds_no_other_up() -> None:
    async def play(frames: FrameTimer) -> None:
        frames.resume()
        await asyncio.sleep(0.1)
        frames.resume()

    assert played(play, Sheet()) == [0.0, pytest.approx(0.1)]


def test_nothing_is_drawn_after_a_pause_or_without_an_app() -> None:
    async def paused(frames: FrameTimer) -> None:
        frames.resume()
        frames.pause()
        frames.pause()

    async def left(frames: FrameTimer) -> None:
        frames.resume()

    assert played(paused, Sheet()) == []
    for name, value in (("is_running", False), ("_exit", True)):
        sheet = Sheet()
        setattr(sheet.app, name, value)
        assert played(left, sheet) == []
    gone = Sheet()
    gone.is_attached = False
    assert played(left, gone) == []


def test_a_frame_that_fails_is_told_and_others_follow() -> None:
    sheet = Sheet()
    sheet.fails = True

    async def play(frames: FrameTimer) -> None:
        frames.resume()
        await asyncio.sleep(0.1)
        sheet.fails = False
        frames.resume()

    assert len(played(play, sheet)) == 2
    assert [str(error) for error in sheet.told] == ["no such row"]


async def test_screens_and_dialogs_are_drawn_so() -> None:
    app = workbench(FakeClient.with_models("smollm2:135m"), Where.MODELS)
    async with app.run_test(size=(80, 24)) as pilot:
        timers: list[object] = [app.screen._update_timer]
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        timers.append(app.screen._update_timer)
        assert {type(one) for one in timers} == {FrameTimer}
        assert timers[0] is not timers[1]
