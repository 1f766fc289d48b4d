"""How long until a model that is on disk, its file in the page cache, answers with its first token."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from corral.runtime.engine.process import default_threads
from tests.bench.figures import Figure
from tests.bench.models import GEMMA3, SMOLLM2, BenchModel
from tests.bench.peer import answers, serving_peer
from tests.bench.prompts import story_prompt
from tests.bench.side_by_side import RUNS, against_peer
from tests.bench.streams import Ask, Ours, Peer, ask_one
from tests.programs import CORRAL, serving
from tests.waiting import block_until

PARALLEL = 4
NUM_CTX = 4096
_POLL_S = 0.005
_SETTLED_S = 0.5
_PATIENCE_S = 60.0


def load_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Seconds from the question to our running server, and from the peer's start, to the first token."""
    for model in (SMOLLM2, GEMMA3):
        path = model.put(store)
        with serving(store, home) as port:
            ours = Ours(port, model.name, NUM_CTX, default_threads(), model.ends)
            _ours_s(ours)
            _peer_s(path, model)
            pairs = [(_ours_s(ours), _peer_s(path, model)) for _ in range(RUNS)]
        yield against_peer(f"{model.label}, load to first token", "s", pairs, 1.0, most=True)


def _ours_s(ours: Ours) -> float:
    _wait_for_spare()
    reply = ask_one(ours, Ask(story_prompt(), 1))
    body = json.dumps({"model": ours.model, "keep_alive": 0}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{ours.port}/api/generate", body, timeout=30) as answer:
        answer.read()
    return reply.first_s


def _wait_for_spare() -> None:
    """Wait until our server has one runner, and that runner nothing to do."""
    (server,) = [child for child in psutil.Process().children() if CORRAL in child.cmdline()]
    since, seen = time.monotonic(), (0, 0.0)

    def settled() -> bool:
        nonlocal since, seen
        runners = server.children()
        used = sum(sum(runner.cpu_times()[:2]) for runner in runners if runner.is_running())
        if (len(runners), used) != seen or len(runners) != 1:
            since, seen = time.monotonic(), (len(runners), used)
        return time.monotonic() - since > _SETTLED_S

    block_until(settled, _PATIENCE_S)


def _peer_s(path: Path, model: BenchModel) -> float:
    began = time.perf_counter()
    with serving_peer(
        path, threads=default_threads(), parallel=PARALLEL, num_cells=NUM_CTX * PARALLEL, wait=False
    ) as port:
        while not answers(port):
            time.sleep(_POLL_S)
        reply = ask_one(Peer(port, model.ends), Ask(story_prompt(), 1))
    return reply.began + reply.first_s - began
