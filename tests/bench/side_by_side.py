"""Our server and the peer on the same model, with the same threads and contexts, measured in turns."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corral.runtime.engine.process import default_threads
from tests.bench.figures import Figure
from tests.bench.models import BenchModel
from tests.bench.peer import serving_peer
from tests.bench.prompts import story_prompt
from tests.bench.streams import Ask, Ours, Peer, Server, ask_one
from tests.programs import serving

RUNS = 5

Pairs = Sequence[tuple[float, float]]


@contextlib.contextmanager
def ours_alone(store: Path, home: Path, model: BenchModel, *, parallel: int, num_ctx: int) -> Iterator[Ours]:
    """Our server with the model loaded."""
    model.put(store)
    with serving(store, home, CORRAL_NUM_PARALLEL=str(parallel)) as port:
        ours = Ours(port, model.name, num_ctx, default_threads(), model.ends)
        ask_one(ours, Ask(story_prompt(), 8))
        yield ours


@contextlib.contextmanager
def side_by_side(
    store: Path, home: Path, model: BenchModel, *, parallel: int, num_ctx: int
) -> Iterator[tuple[Ours, Peer]]:
    """Both, loaded. The peer's slots share cells for as many contexts as ours has."""
    path = model.put(store)
    cells = num_ctx * parallel
    with (
        ours_alone(store, home, model, parallel=parallel, num_ctx=num_ctx) as ours,
        serving_peer(path, threads=default_threads(), parallel=parallel, num_cells=cells) as port,
    ):
        peer = Peer(port, model.ends)
        prompt = story_prompt()
        counts = [ask_one(server, Ask(prompt, 8)).prompt_tokens for server in (ours, peer)]
        if counts[0] != counts[1]:
            raise ValueError(f"{counts} tokens of one prompt")
        yield ours, peer


def in_turns(measure: Callable[[Server], float], ours: Server, peer: Server, runs: int = RUNS) -> Pairs:
    """Measure both servers `runs` times; who goes first changes."""
    return taking_turns(lambda: measure(ours), lambda: measure(peer), runs)


def taking_turns(one: Callable[[], float], other: Callable[[], float], runs: int) -> Pairs:
    """Measure this and the other `runs` times; who goes first changes: a machine gets slower or faster meanwhile."""
    pairs = []
    for run in range(runs):
        if run % 2:
            second = other()
            pairs.append((one(), second))
        else:
            pairs.append((one(), other()))
    return pairs


def against_peer(name: str, unit: str, pairs: Pairs, goal: float, *, most: bool, other: str = "peer") -> Figure:
    """The ratio of each pair as a figure, with the medians of what it was made from."""
    mine, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    return Figure(
        name,
        tuple(one / two for one, two in pairs),
        "x",
        goal,
        most=most,
        note=f"ours {mine:.4g} {unit}, {other} {theirs:.4g}",
    )
