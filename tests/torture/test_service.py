"""`make torture`: the same things many times over, and everything back where it was afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from corral.runtime.errors import RunError
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, DoneReason, Message
from corral.runtime.workbench import Workbench
from tests.conftest import STARTER_MODEL, add_to_store
from tests.unit.runtime.tiny_models import write_tiny
from tests.waiting import until

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

REQUESTS = 400
AT_ONCE = 8
KILLS = int(os.environ.get("CORRAL_TORTURE_KILLS", "1000"))
BYSTANDERS = 4
VICTIMS = 6
KILL_S = 120.0
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


async def test_killed_runners_cost_their_own_requests_only(
    tmp_path: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many models' runners are killed in the middle of their answers again and again, beside another's streams."""
    monkeypatch.setattr("corral.runtime.crashes.MOST", 10**9)  # such models would be left alone for a minute
    victims = [f"victim-{number}" for number in range(VICTIMS)]
    for seed, name in enumerate(victims):
        add_to_store(write_tiny(tmp_path / f"{name}.gguf", "full", seed=seed), own_store, name)
    before = set(psutil.Process().children(recursive=True))
    # A thread each: who starts has its share of the processors beside those who answer.
    options = {"num_ctx": 256, "num_thread": 1}
    settings = Settings(models=own_store, num_parallel=AT_ONCE, max_loaded_models=VICTIMS + 1)
    bench = Workbench(settings, warm=False)
    await bench.start()
    begun = killed = whole = 0
    broken: list[str] = []

    async def stream(model: str) -> None:
        request = ChatRequest(model, (Message("user", "fox"),), {**options, "num_predict": -1})
        while not dead[model]:  # a random model may end its answer by chance
            async with aclosing(bench.chat(request)) as chunks:
                async for _ in chunks:
                    started[model] += 1

    async def kill(model: str) -> None:
        nonlocal begun, killed
        while begun < KILLS:
            begun += 1
            started[model], dead[model] = 0, False
            streams = [asyncio.ensure_future(stream(model)) for _ in range(2)]
            await until(lambda: started[model] >= 4 or any(one.done() for one in streams), KILL_S)  # noqa: B023
            (resident,) = [one for one in bench._scheduler.residents if one.wanted.name == f"{model}:latest"]
            runner = resident.runner
            assert runner is not None
            os.kill(runner.pid, signal.SIGKILL)
            dead[model] = True
            for ended in await asyncio.gather(*streams, return_exceptions=True):
                assert ended is None or isinstance(ended, RunError), ended
                assert ended is None or "SIGKILL" in str(ended)
                told[model] += ended is not None
            await runner.exited.wait()  # where both had ended by chance it may not have been noticed yet
            killed += 1

    async def bystand(number: int) -> None:
        nonlocal whole
        while killed < KILLS:
            request = question(number, num_predict=16)
            request = replace(request, options={**request.options, **options})
            try:
                chunks = [chunk async for chunk in bench.chat(request)]
            except RunError as error:
                broken.append(str(error))
                return
            whole += chunks[-1].done_reason is not None and chunks[-1].stats.output_tokens > 0

    started, told = Counter[str](), Counter[str]()
    dead = dict.fromkeys(victims, False)
    began = time.perf_counter()
    try:
        bystanders = [asyncio.create_task(bystand(number)) for number in range(BYSTANDERS)]
        await asyncio.gather(*map(kill, victims))
        await asyncio.gather(*bystanders)
    finally:
        await bench.close()
    took_s = time.perf_counter() - began
    print(
        f"{begun} kills, {told.total()} streams told of it, {whole} others whole, {len(broken)} broken, {took_s:.0f} s"
    )
    left = set(psutil.Process().children(recursive=True)) - before
    assert not broken, f"{len(broken)} of other streams broke: {broken[0]}"
    assert whole > BYSTANDERS
    assert told.total() > KILLS
    assert not left


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
