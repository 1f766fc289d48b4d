"""Which models are in memory, when they go, who waits; with runners that have no process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from corral.runtime.engine.protocol import Load, Placement
from corral.runtime.errors import LoadFailed, QueueFull
from corral.runtime.events import Events
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler, Wanted
from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import FOREVER
from tests.fakes.runner import FakeRunner
from tests.waiting import until


def wanted(name: str, num_ctx: int = 4096, explicit: tuple[str, ...] = (), **load: object) -> Wanted:
    message = Load(path=f"/{name}", num_ctx=num_ctx, num_cells=num_ctx * 4, num_sequences=4, **load)  # type: ignore[arg-type]
    return Wanted(name, f"digest of {name}", message, frozenset(explicit))


class House:
    """A scheduler and the runners it took."""

    def __init__(self, max_loaded: int = 2, max_queue: int = 4) -> None:
        self.runners: list[FakeRunner] = []
        self.next: Callable[[], FakeRunner] = FakeRunner
        self.events = Events(lambda: 0.0)
        loop = asyncio.get_running_loop()
        self.scheduler = Scheduler(
            self._take, self.events, loop.time, max_loaded=max_loaded, max_queue=max_queue, load_timeout_s=5.0
        )

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
    async with asyncio.timeout(5):
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
