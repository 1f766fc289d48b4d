"""What it costs to ask a model through us whose engine is another server: beside asking that server itself."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path

from corral.api.server import Service
from corral.runtime.engine.process import default_threads
from corral.runtime.settings import Settings
from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import story_prompt
from tests.bench.service import STEP_S, a_token_us, port_of, served
from tests.bench.streams import Ask, Ours, ask_all
from tests.fakes.upstream import Program
from tests.programs import serving
from tests.waiting import block_until

RUNS = 5
FIRSTS = 40
"""Pairs of requests a run: the engine's own step differs by more, from one to the next, than what is measured."""
STREAMS = 8
TOKENS = 64
CALLS = 200
_NUM_CTX = 1024
_STUB = "elsewhere"


def remote_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Milliseconds to the first piece beyond the server's own, and the ratio of speeds; a Corral, then OpenAI's API."""
    SMOLLM2.put(store)
    yield from _front_us(store, home)
    with serving(store, home) as behind, serving(home / "front", home, CORRAL_REMOTES="127.0.0.1") as front:
        _make_stub(front, f"http://127.0.0.1:{behind}", SMOLLM2.name)
        direct = Ours(behind, SMOLLM2.name, _NUM_CTX, default_threads(), SMOLLM2.ends)
        through = Ours(front, _STUB, _NUM_CTX, default_threads(), SMOLLM2.ends)
        yield from _native(direct, through)
    program = Program()
    program.start(pause_s=0.0)
    try:
        block_until(program.listens)
        with serving(home / "front", home, CORRAL_REMOTES="127.0.0.1") as front:
            _make_stub(front, program.url, "m")
            yield _openai(program.port, front)
    finally:
        program.kill()


_FRONT_US = 165
"""Microseconds; half of them are the system's, for a write and a read on loopback, and for waking up."""


def _front_us(store: Path, home: Path) -> Iterator[Figure]:
    """What a front takes of a processor for a token of an engine behind it that computes nothing."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    behind = processes.Process(target=_behind, args=(store, theirs))
    behind.start()
    settings = Settings(models=home / "stubs", listen_port=0, base_url="", remotes=("127.0.0.1",))
    front = Service(settings, warm=False)
    front.start()
    try:
        _make_stub(port_of(front), f"http://127.0.0.1:{ours.recv()}", SMOLLM2.name)
        runs = tuple(a_token_us(front, STREAMS, _STUB) for _ in range(RUNS + 1))[1:]
        yield Figure(f"processor time of a front per token, {STREAMS} streams", runs, "us", _FRONT_US)
    finally:
        front.stop(drain_s=0)
        ours.send(None)
        behind.join(20)


def _behind(store: Path, line: Connection) -> None:
    with served(store, STEP_S) as service:
        line.send(port_of(service))
        line.recv()


def _native(direct: Ours, through: Ours) -> Iterator[Figure]:
    firsts, ratios = [], []
    for run in range(RUNS + 1):
        ask, asks = Ask(story_prompt(), 1), [Ask(story_prompt(), TOKENS)] * STREAMS
        times = [(_first_s(direct, ask), _first_s(through, ask)) for _ in range(FIRSTS)]
        speeds = [STREAMS * TOKENS / max(reply.last_s for reply in ask_all(one, asks)) for one in (direct, through)]
        if run:  # the first is for the caches
            firsts.append(statistics.median(theirs - ours for ours, theirs in times) * 1000)
            ratios.append(speeds[1] / speeds[0])
    yield Figure("first piece from a Corral behind ours, beyond its own", tuple(firsts), "ms", 2.0)
    yield Figure(f"tokens/s through us : direct, {STREAMS} streams", tuple(ratios), "x", 0.98, most=False)


def _first_s(server: Ours, ask: Ask) -> float:
    return ask_all(server, [ask])[0].first_s


def _openai(behind: int, front: int) -> Figure:
    """One call at a time on a kept connection: all of the answer, as the server's time is nothing."""
    messages = [{"role": "user", "content": "Hello?"}]
    body = {"model": "m", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    costs = []
    for run in range(RUNS + 1):
        direct = _median_s(behind, "/v1/chat/completions", body)
        through = _median_s(front, "/api/chat", {"model": _STUB, "messages": messages})
        if run:
            costs.append((through - direct) * 1000)
    return Figure("a request to a server of OpenAI's API, beyond its own time", tuple(costs), "ms", 2.0)


def _median_s(port: int, path: str, body: dict[str, object]) -> float:
    connection, data, times = HTTPConnection("127.0.0.1", port), json.dumps(body).encode(), []
    for _ in range(CALLS):
        began = time.perf_counter()
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        times.append(time.perf_counter() - began)
        if reply.status != 200:
            raise ValueError(f"{path}: status {reply.status}")
    connection.close()
    return statistics.median(times)


def _make_stub(front: int, url: str, model: str) -> None:
    body = json.dumps({"model": _STUB, "from": model, "remote_host": url, "stream": False}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{front}/api/create", body, timeout=30) as reply:
        reply.read()
