"""A model that is shared with llama.cpp's RPC workers: what is said when its runner ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import pytest

from corral.runtime.engine.protocol import Load, Placement, RawPrompt, Sampling, Submit
from corral.runtime.errors import RunnerDied
from corral.runtime.runner import Runner
from corral.runtime.runner_stream import RunnerStream

WORKERS = ["10.0.0.5:50052", "10.0.0.6:50052"]


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """One whose engine computes nothing, so that no worker need be there."""
    found = await Runner.start(time.monotonic, (sys.executable, "-m", "tests.fakes.pacing_engine", "0.01"))
    yield found
    await found.close()


async def _read_on(stream: RunnerStream) -> None:
    while True:
        await stream.take()


async def _ends(runner: Runner, load: Load) -> str:
    """What a request is told whose runner ends in the middle of its answer."""
    await runner.load(load, 10.0)
    stream = runner.submit(lambda number: Submit(number, RawPrompt("x"), Sampling(), 256, num_predict=100_000))
    await stream.take()
    os.kill(runner.pid, signal.SIGABRT)
    with pytest.raises(RunnerDied) as died:
        await _read_on(stream)
    runner.release(stream)
    return str(died.value)


async def test_the_workers_of_its_model_are_named(runner: Runner) -> None:
    said = await _ends(runner, Load("m.gguf", 256, 256, 1, rpc_servers=WORKERS))
    assert "SIGABRT" in said
    assert "shared with the RPC workers 10.0.0.5:50052, 10.0.0.6:50052" in said


async def test_workers_that_have_nothing_of_its_model_are_not(runner: Runner) -> None:
    load = Load("m.gguf", 256, 256, 1, rpc_servers=WORKERS, placement=Placement(gpu_layers=0))
    assert "worker" not in await _ends(runner, load)
