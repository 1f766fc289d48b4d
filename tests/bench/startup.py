"""How long it takes until something is there: the command line, and the workbench's first frame."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.programs import CORRAL, environment, free_port, serving
from tests.terminal import Terminal

RUNS = 11
FRAME_RUNS = 7


def startup_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Seconds from start to end of short commands, and to the first full frame."""
    environ = environment(store, free_port(), home)
    yield Figure("corral --version", _times([CORRAL, "--version"], environ), "s", 0.15)
    yield Figure("corral list, by itself", _times([CORRAL, "list"], environ), "s", 0.30)
    with serving(store, home) as port:
        environ = environment(store, port, home)
        yield Figure("corral list, asking a server", _times([CORRAL, "list"], environ), "s", 0.30)
    frames = tuple(_first_frame(store, home) for _ in range(FRAME_RUNS))
    yield Figure("first frame of the workbench", frames, "s", 0.5)


def _times(argv: list[str], environ: dict[str, str]) -> tuple[float, ...]:
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(argv, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return tuple(times[1:])  # the first one reads files into the page cache


def _first_frame(store: Path, home: Path) -> float:
    with Terminal([CORRAL], environment(store, free_port(), home)) as terminal:
        terminal.wait_for("Chat", "Models", "Server")
        return time.monotonic() - terminal.started
