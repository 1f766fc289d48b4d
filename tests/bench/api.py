"""What the API costs beside the engine: the way to the first byte, tokens a second, requests a second, many streams.

The same verbs are asked in this process and over HTTP, in turns. For many streams the engine is one that only waits:
a real one could not write so many, and its time would hide the API's. Those clients are processes of their own, which
only note times.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from corral.api.server import Service
from corral.runtime.engine.process import default_threads
from corral.runtime.settings import Settings
from corral.runtime.verbs import Chunk, DoneReason, GenerateRequest, Stats
from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import story_prompt
from tests.bench.service import service_figures
from tests.bench.streams import Ask, Ours, ask_all
from tests.fakes.served import MODEL, ServedFake

RUNS = 5
STREAMS = 8
TOKENS = 64
CALLS = 4000
MANY = 500
PER_S = 20.0
MANY_TOKENS = 100
_NUM_CTX = 1024


def api_figures(store: Path, home: Path) -> Iterator[Figure]:
    """The ratio of speeds against the verbs; calls a second; the gap of streams; what the service itself takes."""
    SMOLLM2.put(store)
    yield from _overhead(store)
    with _served(ServedFake.with_models(MODEL)) as service:
        port = _port(service)
        yield Figure("GET /api/version", tuple(_calls_per_s(port) for _ in range(3)), "1/s", 2000, most=False)
    with _served(Paced.with_models(MODEL)) as service:
        gaps = tuple(_worst_gaps_ms(_port(service)) for _ in range(3))
    yield Figure(f"{MANY} streams of {PER_S:g} tokens/s, gap of the slowest 1 %", gaps, "ms", 100)
    yield from service_figures(store)


@contextlib.contextmanager
def _served(fake: ServedFake | None, store: Path = Path("/nonexistent")) -> Iterator[Service]:
    settings = Settings(models=store, listen_port=0, base_url="", context_length=_NUM_CTX, num_parallel=STREAMS)
    service = Service(settings, workbench=(lambda _: fake) if fake is not None else None)
    service.start()
    try:
        yield service
    finally:
        service.stop(drain_s=0)


def _port(service: Service) -> int:
    return int(service.address.rpartition(":")[2])


# -- beside the engine ---------------------------------------------------------------------------------------------


def _overhead(store: Path) -> Iterator[Figure]:
    with _served(None, store) as service:
        server = Ours(_port(service), SMOLLM2.name, _NUM_CTX, default_threads(), SMOLLM2.ends)
        ratios = []
        for run in range(RUNS + 1):
            asks = [Ask(story_prompt(), TOKENS)] * STREAMS
            speeds = (_speed(_verbs(service, server, asks)), _http_speed(server, asks))
            if run:  # the first is for the caches
                ratios.append(speeds[1] / speeds[0])
    yield Figure(f"tokens/s over HTTP : verbs, {STREAMS} streams", tuple(ratios), "x", 0.98, most=False)


def _verbs(service: Service, server: Ours, asks: list[Ask]) -> list[list[float]]:
    """Ask the verbs on their own loop; seconds from the question to each piece of each answer."""

    async def one(ask: Ask) -> list[float]:
        _, body = server.request(ask)
        request = GenerateRequest(body["model"], ask.prompt, raw=True, options=body["options"], keep_alive_s=600.0)
        began, times = time.perf_counter(), []
        async with aclosing(service.client.generate(request)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    times.append(time.perf_counter() - began)
        return times

    async def every() -> list[list[float]]:
        return list(await asyncio.gather(*map(one, asks)))

    return asyncio.run_coroutine_threadsafe(every(), service.loop).result()


def _speed(answers: list[list[float]]) -> float:
    return STREAMS * TOKENS / max(times[-1] for times in answers)


def _http_speed(server: Ours, asks: list[Ask]) -> float:
    return STREAMS * TOKENS / max(reply.last_s for reply in ask_all(server, asks))


# -- without one ---------------------------------------------------------------------------------------------------

_CALLER = """
import socket, sys, time
port, calls = int(sys.argv[1]), int(sys.argv[2])
ask = b"GET /api/version HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
began = time.perf_counter()
for _ in range(calls // len(lines)):
    for line in lines:
        line.sendall(ask)
    for line in lines:
        line.recv(4096)
print(calls / (time.perf_counter() - began))
"""


def _calls_per_s(port: int) -> float:
    """Ask from another process over eight connections, one call at a time on each."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLER, str(port), str(CALLS)], capture_output=True, text=True, check=True, timeout=120
    )
    return float(done.stdout)


@dataclass
class Paced(ServedFake):
    """An engine that writes a token to each of its streams every 1/`PER_S` seconds, all from one step, as ours does."""

    streams: set[asyncio.Event] = field(default_factory=set)
    stepping: asyncio.Task[None] | None = None

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        return self._write()

    async def _write(self) -> AsyncGenerator[Chunk, None]:
        step = asyncio.Event()
        self.streams.add(step)
        if self.stepping is None or self.stepping.done():
            self.stepping = asyncio.create_task(self._steps())
        try:
            for _ in range(MANY_TOKENS):
                await step.wait()
                step.clear()
                yield Chunk(text="word ")
            yield Chunk(done_reason=DoneReason.STOP, stats=Stats(output_tokens=MANY_TOKENS))
        finally:
            self.streams.discard(step)

    async def _steps(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.streams:
            due += 1 / PER_S
            await asyncio.sleep(max(0.0, due - loop.time()))
            for step in self.streams:
                step.set()


_READER = """
import itertools, json, selectors, socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
body = json.dumps({"model": sys.argv[3], "prompt": "x"}).encode()
head = f"POST /api/generate HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n"
head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
times, selector = {}, selectors.DefaultSelector()
for _ in range(count):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(head.encode() + body)
    selector.register(line, selectors.EVENT_READ)
    times[line] = []
while selector.get_map():
    for key, _ in selector.select():
        data = key.fileobj.recv(65536)
        if data:
            times[key.fileobj].append(time.perf_counter())
        else:
            selector.unregister(key.fileobj)
everyone = max(found[0] for found in times.values())
gaps = [b - a for found in times.values() for a, b in itertools.pairwise(found[:-2]) if a > everyone]
gaps.sort()
print(gaps[int(len(gaps) * 0.99)] * 1000)
"""


def _worst_gaps_ms(port: int) -> float:
    """Read many streams from another process; the 99th percentile of the times between two pieces of one."""
    done = subprocess.run(
        [sys.executable, "-c", _READER, str(port), str(MANY), MODEL],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout)
