"""The scheduler over thousands of requests for many models: how many loads it takes, and who waits how long.

Its loads are held against the fewest there can be where requests are served in their order (Belady 1966: put out what
is needed last), and against what Ollama's rule makes of the same requests (spec j: the first by keep-alive, then by
path).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from corral.runtime.engine import protocol
from corral.runtime.events import Events
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from tests.fakes.runner import FakeRunner
from tests.fakes.virtual_time import run_in_no_time

MODELS = 20
REQUESTS = 10_000
LIMIT = 5
LOAD_S = 2.0
KEEP_ALIVE_S = 24 * 3600.0


@dataclass(frozen=True)
class Arrival:
    """A request: when it comes, for which model, and how long it is served."""

    at_s: float
    model: int
    takes_s: float


@dataclass
class Outcome:
    """What became of them."""

    loads: int
    waits_s: list[float]


class SlowRunner(FakeRunner):
    """Takes a while to load."""

    async def load(self, message: protocol.Load, stall_s: float) -> protocol.Loaded:
        await asyncio.sleep(LOAD_S)
        return await super().load(message, stall_s)


def arrivals(every_s: float, stays: float) -> list[Arrival]:
    """Requests at random times; few models are asked for often, many now and then.

    `stays` is how likely a request is for the model of the one before it.
    """
    chance = random.Random(1)
    weights = [1.0 / (rank + 1) for rank in range(MODELS)]
    now, made, model = 0.0, list[Arrival](), 0
    for _ in range(REQUESTS):
        now += chance.expovariate(1 / every_s)
        if chance.random() >= stays:
            model = chance.choices(range(MODELS), weights)[0]
        made.append(Arrival(now, model, chance.uniform(0.2, 2.0)))
    return made


async def served(requests: Sequence[Arrival]) -> Outcome:
    """Have our scheduler serve them."""
    loop = asyncio.get_running_loop()
    outcome = Outcome(0, [])

    async def take() -> Runner:
        outcome.loads += 1
        return SlowRunner()

    scheduler = Scheduler(
        take, Events(loop.time), loop.time, max_loaded=LIMIT, max_queue=REQUESTS, load_timeout_s=60.0, hung_after_s=1e9
    )

    async def ask(request: Arrival) -> None:
        await asyncio.sleep(request.at_s - loop.time())
        load = protocol.Load(path=str(request.model), num_ctx=4096, num_cells=4096, num_sequences=4)
        async with scheduler.lease(Wanted(f"model {request.model}", str(request.model), load), KEEP_ALIVE_S):
            outcome.waits_s.append(loop.time() - request.at_s)
            await asyncio.sleep(request.takes_s)

    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(ask(request))
    await scheduler.close()
    return outcome


def loads_of(requests: Sequence[Arrival], victim: Callable[[int, set[int]], int]) -> int:
    """Count the loads of a rule that serves them one after the other; `victim` says who goes at the i-th."""
    loaded: set[int] = set()
    loads = 0
    for index, request in enumerate(requests):
        if request.model in loaded:
            continue
        loads += 1
        if len(loaded) >= LIMIT:
            loaded.remove(victim(index, loaded))
        loaded.add(request.model)
    return loads


def fewest_loads(requests: Sequence[Arrival]) -> int:
    """Count the loads of one who knows what will be asked for."""
    following: list[dict[int, int]] = [{} for _ in requests]
    seen: dict[int, int] = {}
    for index in range(len(requests) - 1, -1, -1):
        following[index] = dict(seen)
        seen[requests[index].model] = index
    never = len(requests)
    return loads_of(requests, lambda index, loaded: max(loaded, key=lambda one: following[index].get(one, never)))


@pytest.mark.parametrize(
    ("every_s", "stays"), [(0.5, 0.9), (3.0, 0.5), (0.1, 0.5)], ids=["conversations", "now and then", "rush"]
)
def test_ten_thousand_requests_over_twenty_models(every_s: float, stays: float) -> None:
    requests = arrivals(every_s, stays)
    best = fewest_loads(requests)
    theirs = loads_of(requests, lambda _index, loaded: min(loaded))
    outcome = run_in_no_time(served(requests))
    assert len(outcome.waits_s) == REQUESTS
    assert outcome.loads <= 1.3 * best < theirs
    assert max(outcome.waits_s) < 20.0
