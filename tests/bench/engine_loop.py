"""What of the engine's time is not llama.cpp's, seen by a runner that is asked directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corral.runtime.engine.process import default_threads
from corral.runtime.engine.protocol import Loaded, Ping, Pong
from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import story_prompt
from tests.bench.side_by_side import RUNS
from tests.unit.runtime.runner_process import RunnerProcess

STREAMS = 8
NUM_CTX = 1024
TOKENS = 128
BEFORE = 8


def loop_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Percent of the loop's time outside of llama.cpp's calls, while eight answers are generated."""
    with RunnerProcess() as runner:
        loaded = runner.load(
            SMOLLM2.put(store),
            num_ctx=NUM_CTX,
            num_cells=NUM_CTX * STREAMS,
            num_sequences=STREAMS,
            num_threads=default_threads(),
        )
        assert isinstance(loaded, Loaded), loaded
        shares = tuple(_share(runner, run) for run in range(RUNS + 1))
    yield Figure("SmolLM2, 8 streams: loop outside llama.cpp", shares[1:], "%", 2.0)


def _share(runner: RunnerProcess, run: int) -> float:
    answers = [
        runner.submit(STREAMS * run + index, story_prompt(), num_ctx=NUM_CTX, num_predict=TOKENS + 2 * BEFORE)
        for index in range(STREAMS)
    ]
    runner.read_until(lambda: all(answer.tokens >= BEFORE or answer.is_over for answer in answers))
    before = _ping(runner)
    runner.read_until(lambda: all(answer.tokens >= TOKENS or answer.is_over for answer in answers))
    after = _ping(runner)
    runner.read_until(lambda: all(answer.is_over for answer in answers))
    return 100 * (1 - (after.llama_ns - before.llama_ns) / (after.busy_ns - before.busy_ns))


def _ping(runner: RunnerProcess) -> Pong:
    runner.send(Ping(len(runner.others)))
    count = len(runner.others)
    runner.read_until(lambda: len(runner.others) > count)
    pong = runner.others[-1]
    assert isinstance(pong, Pong), pong
    return pong
