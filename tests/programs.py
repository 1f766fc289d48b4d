"""The `corral` program as tests and measurements start it: in a store and on a port of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import block_until

CORRAL = str(Path(sys.executable).parent / "corral")
_USERS = ("CORRAL_", "OLLAMA_", "SSH_", "TMUX", "PYTHONDONTWRITEBYTECODE")
"""Variables of whoever runs the tests that would change what is tested, or how fast it starts."""


_PORTS_EACH, _RANGES = 1000, 12
"""From 20000 up to where Linux begins to give ports to connections."""
_RUN = zlib.crc32(os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid())).encode())
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_FIRST_PORT = 20_000 + _PORTS_EACH * ((_RUN + _WORKER) % _RANGES)
_ports = itertools.cycle(range(_FIRST_PORT, _FIRST_PORT + _PORTS_EACH))
for _ in range(os.getpid() % _PORTS_EACH):
    next(_ports)


def free_port() -> int:
    """A port nobody listens on, nor will before the program that is told of it.

    The system gives others to connections and to who asks for any, and one below those it might give to somebody else
    meanwhile; each worker of these tests has some of its own, and another run beside it mostly others.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(store: Path, port: int, home: Path) -> dict[str, str]:
    """What a program of ours runs with: nothing of the user's settings, a home of its own, modules compiled once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_USERS)}
    return {
        **kept,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip"),
        "CORRAL_HOST": f"127.0.0.1:{port}",
        "CORRAL_MODELS": str(store),
    }


def answers(port: int) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as reply:
            return bool(reply.read() == b"Ollama is running")
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def serving(store: Path, home: Path, **settings: str) -> Iterator[int]:
    """Run `corral serve`; gives its port."""
    port = free_port()
    process = subprocess.Popen(
        [CORRAL, "serve"],
        env={**environment(store, port, home), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said: deque[bytes] = deque(maxlen=50)
    reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        block_until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, b"".join(said).decode()
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        reader.join(5)
        process.stderr.close()
