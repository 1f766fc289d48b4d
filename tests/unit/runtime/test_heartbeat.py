"""A runner that hangs is found and ended; one that works, or has nothing to do, is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from corral.runtime.engine.protocol import Load, RawPrompt, Sampling, Submit
from corral.runtime.errors import RunnerDied
from corral.runtime.heartbeat import BEATS, keep_listening
from corral.runtime.runner import Runner
from corral.runtime.runner_stream import RunnerStream
from tests.unit.runtime.tiny_models import write_tiny

HUNG_AFTER_S = 0.8


async def loaded_runner(folder: Path) -> Runner:
    runner = await Runner.start()
    path = write_tiny(folder / "tiny.gguf", "full")
    await runner.load(Load(path=str(path), num_ctx=512, num_cells=512, num_sequences=1), 60)
    return runner


def endless(request_id: int) -> Submit:
    return Submit(request_id, RawPrompt("the fox"), Sampling(temperature=0.0), 512, num_predict=-1)


async def to_its_end(stream: RunnerStream) -> None:
    while (await stream.take()).finished is None:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
async def test_a_runner_that_stands_still_is_ended(tmp_path: Path) -> None:
    runner = await loaded_runner(tmp_path)
    try:
        stream = runner.submit(endless)
        await stream.take()
        os.kill(runner.pid, signal.SIGSTOP)
        await asyncio.wait_for(keep_listening(runner, time.monotonic, HUNG_AFTER_S), 30)
        with pytest.raises(RunnerDied, match="gave no sign of life"):
            await to_its_end(stream)
    finally:
        await runner.close()


async def test_one_that_works_or_rests_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works may get no processor for longer than that: only beats at which it said something are counted."""
    runner = await loaded_runner(tmp_path)
    heard: set[float] = set()
    ping = runner.ping

    def counted() -> None:
        heard.add(runner.heard_at)
        ping()

    monkeypatch.setattr(runner, "ping", counted)
    interval_s = HUNG_AFTER_S / BEATS
    listening = asyncio.create_task(keep_listening(runner, lambda: len(heard) * interval_s, HUNG_AFTER_S))
    try:
        rested = time.monotonic() + 2 * HUNG_AFTER_S
        while time.monotonic() < rested:
            await asyncio.wait([listening], timeout=HUNG_AFTER_S / 4)
        stream = runner.submit(endless)
        while len(heard) <= 2 * BEATS:
            if (await stream.take()).finished is not None:
                runner.release(stream)
                stream = runner.submit(endless)
        assert runner.alive
        assert not listening.done()
    finally:
        listening.cancel()
        await runner.close()
