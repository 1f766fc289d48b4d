"""What loading a model would put out: said before, done so afterwards."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from corral.runtime.forecast import Forecast
from corral.runtime.residents import Wanted
from corral.runtime.room import plan_load
from corral.runtime.verbs import FOREVER
from tests.unit.runtime.test_scheduler import House, wanted


async def test_nothing_goes_where_there_is_room() -> None:
    house = House(max_loaded=2)
    async with house.scheduler.lease(wanted("a"), 60):
        plan = plan_load(house.scheduler, wanted("new"))
        assert (plan.evicts, plan.in_memory, plan.has_room) == ((), False, True)
        assert plan_load(house.scheduler, wanted("a")).in_memory
    await house.scheduler.close()


async def test_the_one_that_is_named_is_the_one_that_goes() -> None:
    house = House(max_loaded=2)
    for name, stays in (("stays", FOREVER), ("goes", 60.0)):
        async with house.scheduler.lease(wanted(name), stays):
            pass
    plan = plan_load(house.scheduler, wanted("new"))
    (eviction,) = plan.evicts
    assert (eviction.model, eviction.why, eviction.busy) == ("goes", "2 models are the limit", False)
    assert "lately" in eviction.reason
    async with house.scheduler.lease(wanted("new"), 60):
        assert house.names == {"stays", "new"}
    await house.scheduler.close()


async def test_busy_ones_go_last_and_pinned_ones_never() -> None:
    house = House(max_loaded=2)
    async with AsyncExitStack() as stack:
        for name in ("busy", "pinned"):
            await stack.enter_async_context(house.scheduler.lease(wanted(name), 60))
        house.scheduler.pin(wanted("pinned").digest, pinned=True)
        plan = plan_load(house.scheduler, wanted("new"))
        assert [(one.model, one.busy) for one in plan.evicts] == [("busy", True)]
        assert plan.stays == ("pinned",)
        house.scheduler.pin(wanted("busy").digest, pinned=True)
        plan = plan_load(house.scheduler, wanted("new"))
        assert (plan.evicts, plan.has_room) == ((), False)
    await house.scheduler.close()


async def test_as_many_go_as_memory_asks_for() -> None:
    def large(name: str, num_bytes: int) -> Wanted:
        return replace(wanted(name), forecast=Forecast(cache=num_bytes))

    house = House(max_loaded=9, memory=100)
    for name in "abc":
        async with house.scheduler.lease(large(name, 30), 60):
            pass
    plan = plan_load(house.scheduler, large("new", 70))
    assert len(plan.evicts) == 2
    assert all("more memory are needed" in one.why for one in plan.evicts)
    assert not plan_load(house.scheduler, large("huge", 101)).has_room
    async with house.scheduler.lease(large("new", 70), 60):
        assert len(house.names) == 2
    await house.scheduler.close()
