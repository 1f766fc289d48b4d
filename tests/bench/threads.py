"""Whether a thread fewer than physical cores makes a stream faster while a screen is open: it takes processor time too.

Decoding gets as many threads as there are physical cores (`process.default_threads`); above 1.03 here that were wrong.
It says so on a machine that does nothing else: beside other work a thread fewer wins whatever the screen does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corral.runtime.engine.process import default_threads
from tests.bench.figures import Figure
from tests.bench.workbench import opened, speed

RUNS = 7


def threads_figures(store: Path, home: Path) -> Iterator[Figure]:
    """The ratio of speeds with a core left free and without, measured in turns; nothing where there is but one core.

    Two workbenches, because another number of threads loads a model anew.
    """
    cores = default_threads()
    if cores < 2:
        return
    with opened(store, home) as (_, all_cores), opened(store, home) as (_, one_fewer):
        speed(all_cores, num_thread=cores), speed(one_fewer, num_thread=cores - 1)
        pairs = [(speed(one_fewer, num_thread=cores - 1), speed(all_cores, num_thread=cores)) for _ in range(RUNS)]
    ratios = tuple(fewer / full for fewer, full in pairs)
    yield Figure(f"tokens/s, screen open, {cores - 1} : {cores} threads", ratios, "x", 1.03)
