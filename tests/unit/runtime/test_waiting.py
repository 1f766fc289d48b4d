"""What is told while an answer's first token is waited for: of the load, and of the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.runtime.engine import protocol
from corral.runtime.events import Events
from corral.runtime.gauges import Gauges, SystemProbe
from corral.runtime.log_lines import LogLines
from corral.runtime.publish import Publisher
from corral.runtime.requests import RequestLog
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.runner_stream import Output
from corral.runtime.scheduler import Scheduler
from corral.runtime.settings import Settings
from corral.runtime.snapshot import RequestState
from corral.runtime.transfers import Transfers
from corral.runtime.verbs import Caller, ChatRequest, Chunk, GenerateRequest, LoadProgress, Message, PromptProgress
from corral.runtime.waiting import PromptWatch, load_progress
from corral.runtime.workbench import Workbench
from tests.conftest import STARTER_MODEL
from tests.fakes.runner import FakeRunner
from tests.waiting import until

LONG = "Tell me a very long story about a fox. " * 60


@pytest.fixture
async def workbench(own_store: Path) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=own_store), warm=False)
    await bench.start()
    yield bench
    await bench.close()


def output(*, done: int | None = None, started: tuple[int, int] | None = None) -> Output:
    return Output(
        "",
        0,
        protocol.Started(1, *started) if started else None,
        protocol.PromptProgress(1, done, 1000) if done is not None else None,
        None,
        [],
    )


def test_a_prompt_is_told_of_at_its_beginning_its_end_and_now_and_then() -> None:
    now = 5.0
    watch = PromptWatch(lambda: now)
    assert watch.take(output()) is None
    assert watch.take(output(started=(1000, 200))) == PromptProgress(200, 1000, 200)
    now = 5.05
    assert watch.take(output(done=300)) is None
    now = 5.15
    assert watch.take(output(done=400)) == PromptProgress(400, 1000, 200, 150_000_000)
    assert watch.take(output(done=500)) is None
    assert watch.take(output()) is None
    assert watch.take(output(done=1000)) == PromptProgress(1000, 1000, 200, 150_000_000)


def test_a_prompt_that_is_computed_at_once_is_told_of_once() -> None:
    watch = PromptWatch(lambda: 1.0)
    assert watch.take(output(done=1000, started=(1000, 0))) == PromptProgress(1000, 1000, 0)


async def test_a_load_is_told_of_as_it_grows_and_at_its_end() -> None:
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    fraction: float | None = 0.25
    told = []
    async with aclosing(load_progress(task, lambda: fraction)) as steps:
        async for step in steps:
            told.append(step.fraction)
            if fraction == 0.25:
                fraction = 0.5
            elif fraction == 0.5:
                fraction = None
                task.set_result(None)
    assert told == [0.25, 0.5, 1.0]


async def test_a_model_that_is_loaded_again_is_told_of_too() -> None:
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    fractions = iter((None, None, 0.5, None))
    told = []
    async with aclosing(load_progress(task, lambda: next(fractions))) as steps:
        async for step in steps:
            told.append(step.fraction)
            if not task.done():
                task.set_result(None)
    assert told == [0.5, 1.0]


async def test_nothing_is_told_where_nothing_is_loaded() -> None:
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.set_result(None)
    assert [step async for step in load_progress(task, lambda: None)] == []


async def test_a_load_that_fails_is_not_told_as_done() -> None:
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.set_exception(OSError())
    assert [step async for step in load_progress(task, lambda: 0.5)] == []


async def test_who_stops_listening_stops_the_load() -> None:
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with aclosing(load_progress(task, lambda: 0.5)) as steps:
        await anext(steps)
    assert task.cancelled()


async def test_who_asks_is_told_of_load_and_prompt_before_the_first_word(workbench: Workbench) -> None:
    options = {"temperature": 0, "num_predict": 4, "num_batch": 32}
    request = ChatRequest(STARTER_MODEL, (Message("user", LONG),), options, progress=True)
    chunks = [chunk async for chunk in workbench.chat(request)]
    told = [chunk.progress for chunk in chunks if chunk.progress is not None]
    assert [chunk.progress for chunk in chunks[: len(told)]] == told
    loads = [one.fraction for one in told if isinstance(one, LoadProgress)]
    assert loads == sorted(loads)
    assert loads[-1] == 1.0
    prompts = [one for one in told if isinstance(one, PromptProgress)]
    assert told == [*map(LoadProgress, loads), *prompts]
    assert len(prompts) > 2
    assert [one.done for one in prompts] == sorted({one.done for one in prompts})
    last = chunks[-1].stats
    assert {(one.total, one.cached) for one in prompts} == {(last.prompt_tokens, 0)}
    assert prompts[-1].done == last.prompt_tokens
    again = [chunk.progress async for chunk in workbench.chat(request) if chunk.progress is not None]
    assert not any(isinstance(one, LoadProgress) for one in again)
    assert isinstance(again[0], PromptProgress)
    assert again[0].cached > last.prompt_tokens - 10
    silent = [chunk async for chunk in workbench.chat(replace(request, progress=False))]
    assert all(chunk.progress is None for chunk in silent)


async def test_a_load_alone_tells_how_far_it_is(workbench: Workbench) -> None:
    chunks = [chunk async for chunk in workbench.generate(GenerateRequest(STARTER_MODEL, progress=True))]
    *told, last = chunks
    assert last.done_reason == "load"
    assert told[-1] == Chunk(progress=LoadProgress(1.0))


async def test_the_table_says_what_was_cut_while_it_still_runs(workbench: Workbench) -> None:
    caller = Caller("mine", "tui", "POST", "/api/chat")
    options = {"temperature": 0, "num_ctx": 256, "num_predict": 100, "no_such_option": 1}
    request = GenerateRequest(STARTER_MODEL, LONG, raw=True, options=options, caller=caller)
    async with aclosing(workbench.generate(request)) as stream:
        await anext(stream)
        row = workbench.requests.get("mine")
        assert row is not None
        assert row.state is RequestState.DECODE
        assert ["not known" in row.warnings[0], "cut from its middle" in row.warnings[1]] == [True, True]
    row = workbench.requests.get("mine")
    assert row is not None
    assert len(row.warnings) == 2


async def test_the_snapshot_tells_a_waiting_request_how_much_is_loaded(tmp_path: Path) -> None:
    runner, loop = FakeRunner(), asyncio.get_running_loop()
    runner.may_load.clear()

    async def take() -> Runner:
        return runner

    events, requests = Events(lambda: 0.0), RequestLog(lambda: 0.0, lambda: 0.0)
    limits = {"max_loaded": 1, "max_queue": 1, "load_timeout_s": 5.0}
    scheduler = Scheduler(take, events, loop.time, **limits)  # type: ignore[arg-type]
    gauges, transfers = Gauges(SystemProbe(tmp_path)), Transfers(lambda: 0.0)
    publisher = Publisher(
        scheduler, gauges, requests, transfers, events, LogLines(lambda: 0.0), lambda: 0.0, lambda: 0.0
    )
    for name, state in (("m", RequestState.LOADING), ("n", RequestState.LOADING), ("m", RequestState.DECODE)):
        requests.begin(Caller(f"{name} {state}", "tui"), name)
        requests.update(f"{name} {state}", state=state)
    wanted = Wanted("m", "digest", protocol.Load(path="/m", num_ctx=8, num_cells=8, num_sequences=1))

    async def hold() -> None:
        async with scheduler.lease(wanted, 0):
            pass

    holding = asyncio.ensure_future(hold())
    await until(lambda: any(one.runner is not None for one in scheduler.residents))
    runner.load_fraction = 0.42
    shown = {row.id: row.load_fraction for row in publisher.snapshot().requests}
    assert shown == {"m loading": 0.42, "n loading": 0.0, "m decode": 0.0}
    runner.may_load.set()
    await holding
    await scheduler.close()
