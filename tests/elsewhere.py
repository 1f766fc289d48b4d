"""Programs that run a model for others: llama-cpp-python's own server, on the same GGUF file, as people start it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.programs import free_port
from tests.waiting import block_until

_START_S = 60.0


class PythonServer:
    """`python -m llama_cpp.server`; can be killed and started again on its port."""

    def __init__(self, model: Path, log: Path, num_ctx: int = 1024) -> None:
        self.port = free_port()
        self._model = model
        self._log = log
        self._num_ctx = num_ctx
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        argv = [sys.executable, "-m", "llama_cpp.server", "--model", str(self._model), "--n_ctx", str(self._num_ctx)]
        # By default it ends an answer as soon as somebody else asks.
        argv += ["--host", "127.0.0.1", "--port", str(self.port), "--interrupt_requests", "false"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            block_until(lambda: self._answers() or self._ended(), _START_S)
            assert not self._ended(), self._log.read_text(errors="replace")[-2000:]

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/models", timeout=1) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


@contextlib.contextmanager
def python_server(model: Path, log: Path) -> Iterator[PythonServer]:
    """Run it for as long as the block lasts."""
    server = PythonServer(model, log)
    try:
        server.start()
        yield server
    finally:
        server.kill()
