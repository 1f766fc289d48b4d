"""`make torture`: the same things many times over, and everything back where it was afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from corral.runtime.errors import RunError
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, DoneReason, Message
from corral.runtime.workbench import Workbench
from tests.conftest import STARTER_MODEL
from tests.waiting import until

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

REQUESTS = 400
AT_ONCE = 8
KILLS = 40
LOADS = 60


@pytest.fixture
async def workbench(own_store: Path) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=own_store, num_parallel=AT_ONCE), warm=False)
    await bench.start()
    yield bench
    await bench.close()


def question(number: int, num_predict: int = 24) -> ChatRequest:
    text = f"Tell me about the number {number % 7}."
    options = {"temperature": 0, "num_predict": num_predict}
    return ChatRequest(STARTER_MODEL, (Message("user", text),), options)


async def answer(bench: Workbench, request: ChatRequest, stop_after: int = 0) -> str:
    """Read an answer, whole or until so many chunks have come."""
    text = ""
    async with aclosing(bench.chat(request)) as stream:
        read = 0
        async for chunk in stream:
            text += chunk.text
            read += 1
            if stop_after and read >= stop_after:
                return ""
    return text


async def test_cancelled_requests_lose_nothing_of_the_others(workbench: Workbench) -> None:
    chance = random.Random(1)
    await answer(workbench, question(0))
    process = psutil.Process()
    files, threads = process.num_fds(), process.num_threads()
    room = asyncio.Semaphore(AT_ONCE * 2)

    async def one(number: int) -> bool:
        async with room:
            cut = chance.random() < 0.3
            text = await answer(workbench, question(number), chance.randint(1, 12) if cut else 0)
            return cut or f"number {number % 7}" in text.lower()

    results = await asyncio.gather(*(one(number) for number in range(REQUESTS)))
    assert all(results), f"{results.count(False)} of {REQUESTS} answers are not to their question"
    runner = workbench._scheduler.residents[0].runner
    assert runner is not None
    await until(lambda: runner.running == 0)
    assert abs(process.num_fds() - files) <= 5
    assert abs(process.num_threads() - threads) <= 5


async def test_killed_runners_cost_their_own_requests_only(workbench: Workbench) -> None:
    expected = await answer(workbench, question(3))
    for _ in range(KILLS):
        async with aclosing(workbench.chat(question(1, num_predict=-1))) as stream:
            await anext(stream)
            runner = workbench._scheduler.residents[0].runner
            assert runner is not None
            os.kill(runner.pid, signal.SIGKILL)
            with pytest.raises(RunError, match="SIGKILL"):
                async for _ in stream:
                    pass
        assert await answer(workbench, question(3)) == expected  # the same batches, so the same words
    zombies = [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]
    assert not zombies


async def test_loads_and_unloads_leave_nothing(workbench: Workbench) -> None:
    process = psutil.Process()
    sizes: list[int] = []
    files: list[int] = []
    for number in range(LOADS):
        chunks = [chunk async for chunk in workbench.chat(ChatRequest(STARTER_MODEL, keep_alive_s=60))]
        assert chunks[-1].done_reason is DoneReason.LOAD
        await workbench.unload(STARTER_MODEL)
        await until(lambda: not workbench._scheduler.residents)
        if number >= LOADS // 6:
            sizes.append(process.memory_info().rss)
            files.append(process.num_fds())
    assert max(sizes) < min(sizes) * 1.05
    assert max(files) - min(files) <= 5
