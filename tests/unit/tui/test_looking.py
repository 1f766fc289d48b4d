"""The workbench looks by itself: what begins after a rest is shown, and a screen that fails says so."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from corral.runtime.snapshot import Snapshot
from corral.tui.actions import Where
from corral.tui.screens.running import RunningScreen
from tests.fakes.client import FakeClient
from tests.fakes.moment import moment, request
from tests.fakes.screen import picture, until, workbench


def _resting() -> FakeClient:
    client = FakeClient.with_models("smollm2:135m")
    client.snapshot = replace(moment(), requests=(), transfers=(), models=moment().models[:1])
    return client


async def test_what_begins_after_a_rest_is_shown_without_a_key() -> None:
    client = _resting()
    app = workbench(client, Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "0 in flight" in picture(app))
        client.snapshot = replace(client.snapshot, requests=(request(1),))
        await until(pilot, lambda: "1 in flight" in picture(app))


async def test_a_screen_that_is_being_taken_away_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    app = workbench(_resting(), Where.RUNNING)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "0 in flight" in picture(app))
        take_away, looks = app._prune, []

        async def slowly(*widgets: Any, **how: Any) -> None:
            await take_away(*widgets, **how)
            looks.append(app.screen_stack[0].is_mounted)
            app._looking.now()

        monkeypatch.setattr(app, "_prune", slowly)
    assert looks == [True]


async def test_a_screen_that_fails_at_a_look_ends_the_app_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(screen: RunningScreen, snapshot: Snapshot) -> None:
        raise ValueError("no such figure")

    client = _resting()
    app = workbench(client, Where.RUNNING)

    async def use() -> None:
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: "0 in flight" in picture(app))
            monkeypatch.setattr(RunningScreen, "show_snapshot", fail)
            client.snapshot = replace(client.snapshot, requests=(request(1),))
            await until(pilot, lambda: app._exception is not None)

    with pytest.raises(ValueError, match="no such figure"):
        await use()
