"""What the service itself takes of a processor: for a token of a stream, and from a request to its first byte.

The engine is a program that computes nothing (`tests/fakes/pacing_engine.py`) on the other end of a real pipe, and who
reads the streams is a process of its own. What is left in this process is the service's: frames read, rows kept,
chunks written. Its time on the processor is counted, which other work on the machine changes least.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from corral.api.server import Service
from corral.runtime.runner import Runner
from corral.runtime.settings import Settings
from corral.runtime.verbs import GenerateRequest
from corral.runtime.workbench import Workbench
from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2

RUNS = 5
TOKENS = 150
STEP_S = 0.02
FIRSTS = 200
GOALS_US = {1: 500, 8: 110, 16: 75}
"""By streams: most of what a step costs is the turn of the loop, which all streams of the step share."""


def service_figures(store: Path) -> Iterator[Figure]:
    """Microseconds of processor time a token, for one stream and several, and of a whole request for one token."""
    with served(store, STEP_S) as service:
        for streams in GOALS_US:
            runs = tuple(a_token_us(service, streams) for _ in range(RUNS + 1))[1:]
            yield Figure(f"processor time of the service per token, {streams} streams", runs, "us", GOALS_US[streams])
    with served(store, 0.0) as service:
        for path in ("/api/generate", "/api/chat"):
            costs, firsts = zip(*[_a_request(service, path) for _ in range(RUNS + 1)][1:], strict=True)
            yield Figure(f"processor time of the service per {path} of one token", costs, "us", 1000)
            yield Figure(f"first byte of {path}, engine that computes nothing", firsts, "ms", 1.0)
        pairs = [(_a_request(service, "/api/generate")[1], _verb_ms(service)) for _ in range(RUNS + 1)][1:]
        beyond = tuple(over_http - verb for over_http, verb in pairs)
        yield Figure("first byte over HTTP, beyond the verb's", beyond, "ms", 1.0)


@contextlib.contextmanager
def served(store: Path, step_s: float) -> Iterator[Service]:
    """Run a service whose engine computes nothing; it says a word to every request at each step."""

    class Paced(Workbench):
        async def _start_runner(self) -> Runner:
            return await Runner.start(time.monotonic, (sys.executable, "-m", "tests.fakes.pacing_engine", str(step_s)))

    settings = Settings(models=store, listen_port=0, base_url="", num_parallel=max(GOALS_US))
    service = Service(settings, workbench=lambda settings: Paced(settings, warm=False))
    service.start()
    try:
        _ask(service, "/api/generate")
        yield service
    finally:
        service.stop(drain_s=0)


def _body(path: str) -> str:
    asked = {"messages": [{"role": "user", "content": "x"}]} if path.endswith("chat") else {"prompt": "x"}
    return json.dumps({"model": SMOLLM2.name, "keep_alive": -1, "options": {"num_predict": 1, "seed": 1}} | asked)


def port_of(service: Service) -> int:
    """Where it listens."""
    return int(service.address.rpartition(":")[2])


def _ask(service: Service, path: str) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port_of(service), timeout=60)
    line.request("POST", path, _body(path))
    answer = line.getresponse()
    if answer.status != 200 or b'"done":true' not in answer.read():
        raise ValueError(answer.status)
    line.close()


_ASKER = """
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
body = sys.argv[4].encode()
head = f"POST {sys.argv[3]} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode()
line = socket.create_connection(("127.0.0.1", port))
line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times = []
print("ready", flush=True)
sys.stdin.readline()
for _ in range(count):
    began = time.perf_counter()
    line.sendall(head + body)
    data = line.recv(65536)
    times.append(time.perf_counter() - began)
    while not data.endswith(b"0\\r\\n\\r\\n"):
        data += line.recv(65536)
times.sort()
print(times[len(times) // 2])
"""


def _a_request(service: Service, path: str) -> tuple[float, float]:
    """Microseconds of processor time a request, and milliseconds until the first byte of the middle one."""
    took_s, said = _processor_s(_ASKER, str(port_of(service)), str(FIRSTS), path, _body(path))
    return took_s / FIRSTS * 1e6, float(said) * 1000


def _processor_s(program: str, *arguments: str) -> tuple[float, str]:
    """Run a client in a process of its own; the seconds that this process computed meanwhile, and what it said."""
    argv = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdout.readline()
        began = time.process_time()
        client.stdin.write("\n")
        client.stdin.flush()
        said = client.stdout.read()
        took_s = time.process_time() - began
    if client.returncode:
        raise ValueError(f"the client ended with {client.returncode}")
    return took_s, said


def _verb_ms(service: Service) -> float:
    """Milliseconds until the first piece of the middle one of as many requests, asked on the verbs' own loop."""
    options = {"num_predict": 1, "seed": 1}
    request = GenerateRequest(SMOLLM2.name, "x", options=options, keep_alive_s=math.inf)

    async def ask() -> float:
        began = time.perf_counter()
        first_s = 0.0
        async with aclosing(service.client.generate(request)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    first_s = time.perf_counter() - began
        return first_s

    async def ask_all() -> float:
        return statistics.median([await ask() for _ in range(FIRSTS)])

    return asyncio.run_coroutine_threadsafe(ask_all(), service.loop).result() * 1000


_READER = """
import selectors, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
body = sys.argv[3].encode()
head = f"POST /api/generate HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n"
head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
selector = selectors.DefaultSelector()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(count):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(head.encode() + body)
    selector.register(line, selectors.EVENT_READ)
read = 0
while selector.get_map():
    for key, _ in selector.select():
        data = key.fileobj.recv(65536)
        read += data.count(b'"done":true')
        if not data:
            selector.unregister(key.fileobj)
print(read)
"""


def a_token_us(service: Service, streams: int, model: str = SMOLLM2.name) -> float:
    """Microseconds of this process a token: the difference of long answers and short ones, so requests cost nothing."""
    long, short = (_reading_s(service, streams, tokens, model) for tokens in (TOKENS, 1))
    return (long - short) / streams / (TOKENS - 1) * 1e6


def _reading_s(service: Service, streams: int, tokens: int, model: str) -> float:
    options = {"num_predict": tokens, "seed": 1}
    body = json.dumps({"model": model, "prompt": "x", "raw": True, "keep_alive": -1, "options": options})
    took_s, whole = _processor_s(_READER, str(port_of(service)), str(streams), body)
    if int(whole) != streams:
        raise ValueError(f"{whole} whole answers of {streams}")
    return took_s
