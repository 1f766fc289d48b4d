"""What becomes of a load for which memory is too little: tried again smaller, then refused with the sum."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import psutil
import pytest

from corral.runtime.engine.protocol import Load
from corral.runtime.errors import TooLittleMemory
from corral.runtime.events import Events
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler

GIB = 2**30
CELLS = 8192 * 16  # 2.8 GiB of half-precision keys and values


def wanted(path: Path, explicit: frozenset[str] = frozenset()) -> Wanted:
    load = Load(path=str(path), num_ctx=8192, num_cells=CELLS, num_sequences=4)
    return Wanted("starter", "digest", load, explicit)


def scheduler_with(room: int) -> Scheduler:
    """Return one whose runners may take so many bytes more than they have once they are started."""

    async def take() -> Runner:
        runner = await Runner.start()
        limit = psutil.Process(runner.pid).memory_info().vms + room
        resource.prlimit(runner.pid, resource.RLIMIT_AS, (limit, limit))
        return runner

    loop = asyncio.get_running_loop()
    return Scheduler(take, Events(lambda: 0.0), loop.time, max_loaded=3, max_queue=10, load_timeout_s=60.0)


async def test_it_is_tried_again_with_the_smallest_cache(starter_gguf: Path) -> None:
    scheduler = scheduler_with(GIB)
    try:
        async with scheduler.lease(wanted(starter_gguf), 60.0) as lease:
            assert lease.runner.loaded is not None
            assert (lease.load.num_ctx, lease.load.num_cells) == (4096, 4096)
            assert lease.runner.alive
    finally:
        await scheduler.close()


async def test_what_cannot_be_there_is_refused_with_the_reason(starter_gguf: Path) -> None:
    scheduler = scheduler_with(GIB // 8)
    try:
        with pytest.raises(TooLittleMemory, match=r"starter needs .* GiB.*alloc"):
            async with scheduler.lease(wanted(starter_gguf, frozenset({"num_ctx"})), 60.0):
                pass
        assert not scheduler.residents or all(one.stopping for one in scheduler.residents)
    finally:
        await scheduler.close()
