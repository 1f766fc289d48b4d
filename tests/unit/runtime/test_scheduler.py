"""Which models are in memory, when they go, who waits; with runners that have no process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from corral.runtime.engine.protocol import Load, Placement
from corral.runtime.errors import KeepsDying, LoadFailed, QueueFull, TooLittleMemory
from corral.runtime.events import Events
from corral.runtime.forecast import Forecast
from corral.runtime.reload import unmet_options
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import FOREVER
from corral.runtime.waiting_line import Ticket, WaitingLine
from tests.fakes.runner import FakeRunner
from tests.waiting import until


def wanted(name: str, num_ctx: int = 4096, explicit: tuple[str, ...] = (), **load: object) -> Wanted:
    message = Load(path=f"/{name}", num_ctx=num_ctx, num_cells=num_ctx * 4, num_sequences=4, **load)  # type: ignore[arg-type]
    return Wanted(name, f"digest of {name}", message, frozenset(explicit))


class House:
    """A scheduler and the runners it took."""

    def __init__(
        self, max_loaded: int = 2, max_queue: int = 4, patience_s: float = 5.0, memory: int | None = None
    ) -> None:
        self.memory = memory
        self.runners: list[FakeRunner] = []
        self.next: Callable[[], FakeRunner] = FakeRunner
        self.events = Events(lambda: 0.0)
        loop = asyncio.get_running_loop()
        self.scheduler = Scheduler(
            self._take,
            self.events,
            loop.time,
            max_loaded=max_loaded,
            max_queue=max_queue,
            load_timeout_s=5.0,
            patience_s=patience_s,
            free_memory=None if memory is None else self._free,
        )

    def _free(self) -> int:
        """What is left of the memory by those that are loaded."""
        loaded = [one for one in self.scheduler.residents if one.ready.done()]
        return (self.memory or 0) - sum(one.wanted.forecast.fixed_ram for one in loaded)

    async def _take(self) -> Runner:
        runner = self.next()
        self.runners.append(runner)
        return runner

    @property
    def states(self) -> list[ModelState]:
        return [one.state for one in self.scheduler.residents]

    @property
    def names(self) -> set[str]:
        return {one.wanted.name for one in self.scheduler.residents}


async def test_a_loaded_model_is_shared_and_stays() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 60) as one, house.scheduler.lease(wanted("a"), 60) as two:
        assert one.runner is two.runner
        assert house.states == [ModelState.BUSY]
    assert house.states == [ModelState.IDLE]
    await house.scheduler.close()
    assert house.runners[0].closed == 1
    assert not house.scheduler.residents


async def test_keep_alive_of_nothing_unloads_at_the_end() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 0):
        pass
    await until(lambda: not house.scheduler.residents)
    assert house.runners[0].closed == 1


async def test_an_idle_model_goes_when_its_time_is_over() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 0.01):
        pass
    assert house.names == {"a"}
    await until(lambda: not house.names)
    assert "keep_alive" in house.events.newest()[0].text


async def test_the_idle_model_that_would_go_first_makes_room() -> None:
    house = House(max_loaded=2)
    async with house.scheduler.lease(wanted("stays"), FOREVER):
        pass
    async with house.scheduler.lease(wanted("goes"), 60):
        pass
    async with house.scheduler.lease(wanted("new"), 60):
        assert house.names == {"stays", "new"}
    await house.scheduler.close()


async def test_a_busy_model_is_not_evicted_and_waiters_are_served_in_order() -> None:
    house = House(max_loaded=1)
    order: list[str] = []

    async def ask(name: str) -> None:
        async with house.scheduler.lease(wanted(name), 60):
            order.append(name)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(house.scheduler.lease(wanted("busy"), 60))
        asking = []
        for number, name in enumerate("bcd", start=1):
            asking.append(asyncio.create_task(ask(name)))
            await until(lambda number=number: house.scheduler.waiting() == number)  # type: ignore[misc]
        assert house.names == {"busy"}
    await asyncio.gather(*asking)
    assert order == ["b", "c", "d"]
    await house.scheduler.close()


async def test_who_comes_when_the_queue_is_full_is_refused() -> None:
    house = House(max_loaded=1, max_queue=1)
    async with house.scheduler.lease(wanted("busy"), 60):
        first = asyncio.create_task(house.scheduler.lease(wanted("b"), 60).__aenter__())
        await until(lambda: house.scheduler.waiting() == 1)
        with pytest.raises(QueueFull) as caught:
            await house.scheduler.lease(wanted("c"), 60).__aenter__()
        assert caught.value.waiting == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert house.scheduler.waiting() == 0
    await house.scheduler.close()


async def test_a_load_nobody_waits_for_any_more_is_given_up() -> None:
    house = House()
    slow = FakeRunner()
    slow.may_load.clear()
    house.next = lambda: slow
    asking = asyncio.create_task(house.scheduler.lease(wanted("a"), 60).__aenter__())
    await until(lambda: bool(house.runners))
    asking.cancel()
    await until(lambda: not house.scheduler.residents)
    assert slow.closed == 1


async def test_a_failed_load_fails_all_who_wait_and_the_next_one_tries_again() -> None:
    house = House()
    house.next = lambda: FakeRunner(refuse="no such file")
    results = await asyncio.gather(
        *(house.scheduler.lease(wanted("a"), 60).__aenter__() for _ in range(3)), return_exceptions=True
    )
    assert [str(one) for one in results] == ["no such file"] * 3
    assert all(isinstance(one, LoadFailed) for one in results)
    house.next = FakeRunner
    async with house.scheduler.lease(wanted("a"), 60) as lease:
        assert lease.runner.alive
    await house.scheduler.close()


async def test_a_runner_that_died_is_replaced() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 60):
        pass
    house.runners[0].exited.set()
    async with house.scheduler.lease(wanted("a"), 60) as lease:
        assert lease.runner is house.runners[1]
    await house.scheduler.close()


@pytest.mark.parametrize(
    ("again", "reloads"),
    [
        (wanted("a", 2048, ("num_ctx",)), False),
        (wanted("a", 8192), False),
        (wanted("a", 8192, ("num_ctx",)), True),
        (wanted("a", placement=Placement(gpu_layers=0)), False),
        (wanted("a", explicit=("num_gpu",), placement=Placement(gpu_layers=0)), True),
        (wanted("a", draft_path="small"), True),
    ],
)
async def test_only_what_a_loaded_model_cannot_meet_reloads_it(again: Wanted, reloads: bool) -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 60):
        pass
    async with house.scheduler.lease(again, 60):
        assert len(house.runners) == 1 + reloads
    await house.scheduler.close()


async def test_unload_waits_for_requests_in_flight() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 60):
        assert await house.scheduler.unload("digest of a")
        assert house.names == {"a"}
    await until(lambda: not house.names)
    assert not await house.scheduler.unload("digest of a")


async def test_whoever_waits_for_room_is_not_passed_for_ever() -> None:
    house = House(max_loaded=1, patience_s=0.05)
    served: list[str] = []

    async def ask(name: str) -> None:
        async with house.scheduler.lease(wanted(name), 60):
            served.append(name)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask("busy"))
        await until(lambda: house.states == [ModelState.BUSY])
        waiter = group.create_task(ask("rare"))
        while not waiter.done():  # there is always somebody on the busy one
            group.create_task(ask("busy"))
            await asyncio.sleep(0.01)
    assert served.index("rare") < len(served) - 1 or served[-1] == "rare"
    assert served.count("rare") == 1
    await house.scheduler.close()


async def test_a_reload_is_not_put_off_for_ever() -> None:
    house = House(max_loaded=1, patience_s=0.05)

    async def ask(num_ctx: int) -> None:
        async with house.scheduler.lease(wanted("a", num_ctx, ("num_ctx",)), 60):
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask(2048))
        await until(lambda: house.states == [ModelState.BUSY])
        waiter = group.create_task(ask(8192))
        while not waiter.done():
            group.create_task(ask(2048))
            await asyncio.sleep(0.01)
    assert len(house.runners) == 2  # those with the smaller context are served by the larger one
    await house.scheduler.close()


async def test_priority_comes_first_but_not_for_ever() -> None:
    line = WaitingLine()
    plain, urgent, late = (
        Ticket("d", "d", since=0.0),
        Ticket("d", "d", since=10.0, priority=1),
        Ticket("d", "d", 31.0, 1),
    )
    for ticket in (plain, urgent, late):
        line.join(ticket)
    assert list(line) == [urgent, plain, late]


async def test_those_who_wait_for_a_busy_model_count() -> None:
    house = House(max_queue=2)
    async with AsyncExitStack() as stack:
        for _ in range(6):  # four slots, two wait
            await stack.enter_async_context(house.scheduler.lease(wanted("a"), 60))
        with pytest.raises(QueueFull) as refused:
            await stack.enter_async_context(house.scheduler.lease(wanted("a"), 60))
        assert refused.value.waiting == 2
        assert refused.value.retry_after_s >= 1
    await house.scheduler.close()


async def test_a_context_that_must_grow_grows_by_more_than_it_must() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a", 4000), 60):
        pass
    async with house.scheduler.lease(wanted("a", 4100, ("num_ctx",)), 60) as lease:
        assert lease.load.num_ctx == 6000
    async with house.scheduler.lease(wanted("a", 6000, ("num_ctx",)), 60):
        pass
    assert len(house.runners) == 2
    await house.scheduler.close()


async def test_a_runner_that_keeps_dying_is_left_alone_for_a_while() -> None:
    house = House()
    for _ in range(5):
        async with house.scheduler.lease(wanted("a"), 60) as lease:
            lease.runner.exited.set()
        await until(lambda: not house.states)
    with pytest.raises(KeepsDying, match=r"died 5 times.*last words"):
        async with house.scheduler.lease(wanted("a"), 60):
            pass
    async with house.scheduler.lease(wanted("b"), 60):
        pass  # others are none the worse
    await house.scheduler.close()


async def test_memory_that_is_too_little_makes_room_and_at_last_refuses() -> None:
    house = House(max_loaded=3, memory=1000)
    small = replace(wanted("small"), forecast=Forecast(cache=600, mapped=False))
    other = replace(wanted("other"), forecast=Forecast(cache=700, mapped=False))
    huge = replace(wanted("huge", 8192), forecast=Forecast(cache=900 * 2**10, weights=100 * 2**10, mapped=False))
    async with house.scheduler.lease(small, 60):
        pass
    async with house.scheduler.lease(other, 60):
        assert house.names == {"other"}
    with pytest.raises(TooLittleMemory, match=r"huge needs .* GiB, .* GiB are free"):
        async with house.scheduler.lease(huge, 60):
            pass
    await house.scheduler.close()


async def test_a_load_that_runs_out_of_memory_is_tried_once_more_and_smaller() -> None:
    house = House()
    refusals = iter(["failed to allocate buffer", ""])
    house.next = lambda: FakeRunner(refuse=next(refusals))
    async with house.scheduler.lease(wanted("a", 8192), 60) as lease:
        assert lease.load.num_ctx == 4096
    house.next = lambda: FakeRunner(refuse="unable to allocate 9 GiB")
    with pytest.raises(TooLittleMemory, match="unable to allocate"):
        async with house.scheduler.lease(wanted("b"), 60):
            pass
    await house.scheduler.close()


async def test_a_pinned_model_stays() -> None:
    house = House(max_loaded=2)
    async with house.scheduler.lease(replace(wanted("pinned"), pinned=True), 60):
        pass
    for name in ("b", "c", "d"):
        async with house.scheduler.lease(wanted(name), 60):
            pass
    assert "pinned" in house.names
    await house.scheduler.close()


async def test_options_about_speed_do_not_reload_what_was_just_loaded() -> None:
    house = House()
    async with house.scheduler.lease(wanted("a"), 60):
        pass
    with_threads = wanted("a", explicit=("num_thread",), num_threads=3)
    async with house.scheduler.lease(with_threads, 60) as lease:
        assert unmet_options(lease.load, with_threads) == (
            "num_thread 3 is not applied: the model was just loaded with 0",
        )
    assert len(house.runners) == 1
    await house.scheduler.close()
