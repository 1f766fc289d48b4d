"""What the screen costs: processor time while nothing happens, memory, and tokens per second beside it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.figures import Figure
from tests.bench.side_by_side import taking_turns
from tests.conftest import STARTER_MODEL
from tests.programs import CORRAL, answers, environment, free_port, serving
from tests.terminal import Terminal
from tests.waiting import block_until

IDLE_S = 5.0
IDLE_RUNS = 5
SPEED_RUNS = 12
TOKENS = 160


def workbench_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Percent of a core, megabytes, and the ratio of speeds with and without a screen."""
    with opened(store, home) as (terminal, port):
        speed(port)
        terminal.press("\x1bOS")  # F4: Running, where the gauges are
        # The terminal's own process only waits, so that the workbench can be detached from it.
        (process,) = psutil.Process(terminal.process.pid).children()
        time.sleep(3)  # what the change of screen and the last answer still cost is not idling
        idle = tuple(_cpu_percent(process) for _ in range(IDLE_RUNS))
        resident = process.memory_info().rss / 1e6
    yield Figure("idle workbench, gauges on: one core", idle, "%", 1.5)
    yield Figure("parent process, workbench open", (resident,), "MB", 150)
    with opened(store, home) as (_, with_screen), serving(store, home) as alone:
        speed(with_screen), speed(alone)
        pairs = taking_turns(lambda: speed(with_screen), lambda: speed(alone), SPEED_RUNS)
    ratios = tuple(screen / bare for screen, bare in pairs)
    yield Figure("tokens/s, workbench open : serve alone", ratios, "x", 0.97, most=False)


@contextlib.contextmanager
def opened(store: Path, home: Path) -> Iterator[tuple[Terminal, int]]:
    """A workbench in a terminal, and its port."""
    port = free_port()
    with Terminal([CORRAL], environment(store, port, home)) as terminal:
        block_until(lambda: answers(port))
        terminal.wait_for("Chat")
        yield terminal, port


def _cpu_percent(process: psutil.Process) -> float:
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return 100 * used / (time.monotonic() - began)


def speed(port: int, **options: object) -> float:
    """Tokens per second of one answer over the API, as its reader sees them arrive."""
    body = {
        "model": STARTER_MODEL,
        "messages": [{"role": "user", "content": "Tell a long story about the sea."}],
        "options": {"temperature": 0, "num_predict": TOKENS, **options},
        "keep_alive": -1,
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/chat", json.dumps(body).encode())
    first = last = 0.0
    with urllib.request.urlopen(request, timeout=120) as reply:
        for line in reply:
            last = time.perf_counter()
            first = first or last
            final = json.loads(line)
    return float(final["eval_count"] - 1) / (last - first)
