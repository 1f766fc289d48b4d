"""Waiting that ends: at its time, when somebody stops it, and never for anybody else's reasons."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from corral.runtime.errors import RequestCanceled
from corral.runtime.remote.stopping import Stopping
from tests.fakes.virtual_time import run_in_no_time


async def _for_ever() -> None:
    await asyncio.Event().wait()


def test_a_wait_ends_when_its_own_time_is_up() -> None:
    async def ends_after(*limits_s: float) -> float:
        """Short waits, then one for ever: when that one ended."""
        stopping, loop = Stopping(), asyncio.get_running_loop()
        for limit_s in limits_s:
            await stopping.wait(asyncio.sleep(1.0), limit_s)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await stopping.wait(_for_ever(), 10.0)
        took_s = loop.time() - began
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(100.0)  # nothing of it ends what comes after
        return took_s

    for limits_s in ((), (5.0,), (300.0,), (2.0,) * 20, (300.0, 2.0, 10.0)):
        assert run_in_no_time(ends_after(*limits_s)) == pytest.approx(10.0)


def test_no_time_is_counted_between_waits() -> None:
    async def rests() -> str:
        stopping = Stopping()
        await stopping.wait(asyncio.sleep(1.0), 2.0)
        await asyncio.sleep(100.0)
        return await stopping.wait(asyncio.sleep(1.0, "whole"), 2.0)

    assert run_in_no_time(rests()) == "whole"


async def test_a_pause_is_over_late_where_the_machine_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, loop = Stopping(), asyncio.get_running_loop()
    time, stood_still_s = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: time() + stood_still_s)

    def stand_still() -> None:
        nonlocal stood_still_s
        stood_still_s = 60.0

    loop.call_soon(stand_still)
    await stopping.pause(0.2)
    stopping.close()


def test_a_stop_ends_this_wait_and_every_later_one() -> None:
    async def stopped() -> float:
        stopping, loop = Stopping(), asyncio.get_running_loop()
        loop.call_later(1.0, stopping.stop)
        for _ in range(2):
            with pytest.raises(RequestCanceled):
                await stopping.wait(_for_ever(), 300.0)
        return loop.time()

    assert run_in_no_time(stopped()) == pytest.approx(1.0)


def test_who_cancels_the_task_itself_is_obeyed() -> None:
    async def cancelled() -> tuple[bool, int]:
        stopping, loop = Stopping(), asyncio.get_running_loop()
        task = asyncio.ensure_future(stopping.wait(_for_ever(), 300.0))
        loop.call_later(1.0, stopping.stop)
        loop.call_later(1.0, task.cancel)
        with suppress(asyncio.CancelledError, RequestCanceled):
            await task
        return task.cancelled(), task.cancelling()

    assert run_in_no_time(cancelled()) == (True, 1)


def test_what_came_in_time_is_kept_though_nobody_waits_for_more() -> None:
    async def closed() -> float:
        stopping, loop = Stopping(), asyncio.get_running_loop()
        assert await stopping.wait(asyncio.sleep(1.0, 3), 300.0) == 3
        stopping.close()
        return loop.time()

    assert run_in_no_time(closed()) == pytest.approx(1.0)
