"""What the scheduler costs and what it saves: the way to a runner, a swap, a warm spare, the loads of a long day."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from corral.runtime.engine import protocol
from corral.runtime.residents import Lease, Wanted
from corral.runtime.runner import Runner
from corral.runtime.runner_stream import RunnerStream
from corral.runtime.scheduler import Scheduler
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, GenerateRequest
from corral.runtime.workbench import Workbench
from tests.bench.figures import Figure
from tests.bench.models import GEMMA3, SMOLLM2
from tests.fakes.virtual_time import run_in_no_time
from tests.unit.runtime.test_scheduling_policy import arrivals, fewest_loads, loads_of, served
from tests.waiting import until

RUNS = 5
REQUESTS = 200
_PATIENCE_S = 60.0
_NUM_CTX = 1024
_DAYS = (("conversations", 0.5, 0.9), ("now and then", 3.0, 0.5))


def scheduler_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Milliseconds to the runner; the ratio of a swap to its parts; seconds a spare saves; loads against the fewest."""
    for model in (SMOLLM2, GEMMA3):
        model.put(store)
    ways = asyncio.run(_ways_ms(store))
    yield Figure("from the scheduler to a loaded model's runner", ways, "ms", 0.5)
    swaps, saved = asyncio.run(_loads(store))
    yield Figure("swap of two models : unload + load", swaps, "x", 1.1)
    yield Figure("what a warm spare takes off a load", saved, "s", 0.3, most=False)
    for label, every_s, stays in _DAYS:
        requests = arrivals(every_s, stays)
        fewest, ollamas = fewest_loads(requests), loads_of(requests, lambda _index, loaded: min(loaded))
        ratio = run_in_no_time(served(requests)).loads / fewest
        note = f"Ollama's rule: {ollamas / fewest:.2f}"
        yield Figure(f"loads : the fewest there can be, {label}", (ratio,), "x", 1.3, note=note)


def _settings(store: Path) -> Settings:
    return Settings(models=store, max_loaded_models=1, context_length=_NUM_CTX)


async def _ways_ms(store: Path) -> tuple[float, ...]:
    """Note when a request asks the scheduler and when it has been written to its runner's pipe."""
    reached: list[float] = []
    took: list[float] = []
    lease, submit = Scheduler.lease, Runner.submit

    @asynccontextmanager
    async def noted_lease(
        self: Scheduler, wanted: Wanted, keep_alive_s: float, priority: int = 0, request_id: str = ""
    ) -> AsyncIterator[Lease]:
        reached.append(time.perf_counter())
        held: AbstractAsyncContextManager[Lease] = lease(self, wanted, keep_alive_s, priority, request_id)
        async with held as one:
            yield one

    def noted_submit(self: Runner, make: Callable[[int], protocol.Submit]) -> RunnerStream:
        stream = submit(self, make)
        took.append(time.perf_counter() - reached[-1])
        return stream

    bench = Workbench(_settings(store), warm=False)
    await bench.start()
    try:
        await _load(bench, SMOLLM2.name)
        medians = []
        with patch.object(Scheduler, "lease", noted_lease), patch.object(Runner, "submit", noted_submit):
            for _ in range(RUNS):
                took.clear()
                for _ in range(REQUESTS):
                    request = GenerateRequest(SMOLLM2.name, "One", raw=True, options={"num_predict": 1})
                    async for _ in bench.generate(request):
                        pass
                medians.append(statistics.median(took) * 1000)
        return tuple(medians)
    finally:
        await bench.close()


async def _loads(store: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Swap with a spare ready, do its two halves with a spare ready, and load without one."""
    swaps, saved = [], []
    bench = Workbench(_settings(store))
    await bench.start()
    try:
        for run in range(RUNS + 1):
            await _load(bench, SMOLLM2.name)
            await _spare(bench)
            unload_s = await _unload(bench, SMOLLM2.name)
            load_s = await _load(bench, GEMMA3.name)
            await _unload(bench, GEMMA3.name)
            cold_s = await _load(bench, GEMMA3.name)  # its spare is not there again so soon
            await _load(bench, SMOLLM2.name)
            await _spare(bench)
            swap_s = await _load(bench, GEMMA3.name)
            if run:  # the first reads the files
                swaps.append(swap_s / (unload_s + load_s))
                saved.append(cold_s - load_s)
    finally:
        await bench.close()
    return tuple(swaps), tuple(saved)


async def _load(bench: Workbench, name: str) -> float:
    began = time.perf_counter()
    async for _ in bench.chat(ChatRequest(name, keep_alive_s=600.0)):
        pass
    return time.perf_counter() - began


async def _unload(bench: Workbench, name: str) -> float:
    began = time.perf_counter()
    await bench.unload(name)
    await until(lambda: not bench._scheduler.residents)
    return time.perf_counter() - began


async def _spare(bench: Workbench) -> None:
    """Wait until a runner is kept ready."""
    await until(lambda: (spare := bench._spares._spare) is not None and spare.done(), _PATIENCE_S)
