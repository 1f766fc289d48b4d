"""`make torture`: one model over llama.cpp's RPC workers says what it says here.

`CORRAL_RPC_BUILD` names a folder with a llama-cpp-python that has RPC (docs/remote.md says how to make one); without it
one is built, once, and kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import psutil
import pytest

from tests.conftest import STARTER_MODEL, cache_folder
from tests.programs import free_port, serving
from tests.waiting import block_until

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

REPOSITORY = Path(__file__).parents[2]
BUILD_S = 3400
PROMPTS = ("The capital of France is", "Once upon a time", "def add(a, b):")
TOKENS = 32


@pytest.fixture(scope="module")
def build() -> Path:
    if named := os.environ.get("CORRAL_RPC_BUILD"):
        return Path(named)
    kept = cache_folder() / f"rpc-{llama_cpp.__version__}"
    if not (kept / "llama_cpp").exists():
        package = f"llama-cpp-python=={llama_cpp.__version__}"
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(kept)]
        # Its wheel must not take the place of the one without RPC in pip's cache.
        argv += ["--no-cache-dir", "--no-binary", "llama-cpp-python", package]
        subprocess.run(argv, env={**os.environ, "CMAKE_ARGS": "-DGGML_RPC=on"}, check=True, timeout=BUILD_S)
    return kept


@contextlib.contextmanager
def worker(build: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A worker: where it is, and its process."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.fakes.rpc_worker", str(build), str(port)]
    process = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        block_until(lambda: process.poll() is not None or bool(psutil.Process(process.pid).net_connections("tcp")))
        assert process.poll() is None
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(10)


def with_rpc(build: Path, *workers: str) -> dict[str, str]:
    """The settings of a service whose runners have RPC."""
    paths = [str(build), str(REPOSITORY / ".src"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CORRAL_RPC_SERVERS": ",".join(workers)}


def answer(port: int, prompt: str, num_predict: int = TOKENS) -> dict[str, Any]:
    options = {"temperature": 0, "num_predict": num_predict, "num_ctx": 512}
    body = {"model": STARTER_MODEL, "prompt": prompt, "raw": True, "stream": False, "options": options}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/generate", json.dumps(body).encode(), timeout=120) as one:
        found: dict[str, Any] = json.loads(one.read())
    return found


def test_a_model_over_workers_says_what_it_says_here(build: Path, own_store: Path, tmp_path: Path) -> None:
    with serving(own_store, tmp_path, **with_rpc(build)) as port:
        here = [answer(port, prompt)["response"] for prompt in PROMPTS]
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(build)) for _ in range(2)]
        before = [process.memory_info().rss for _, process in workers]
        port = stack.enter_context(serving(own_store, tmp_path, **with_rpc(build, *(place for place, _ in workers))))
        there = [answer(port, prompt)["response"] for prompt in PROMPTS]
        took = [process.memory_info().rss - rss for (_, process), rss in zip(workers, before, strict=True)]
    assert there == here
    assert min(took) > 20e6, f"the workers took {took} bytes, so the model is not on them"


def test_a_worker_that_dies_costs_its_request_alone_and_is_named(build: Path, own_store: Path, tmp_path: Path) -> None:
    with worker(build) as (place, process), serving(own_store, tmp_path, **with_rpc(build, place)) as port:
        assert answer(port, PROMPTS[0])["done"]
        process.kill()
        with pytest.raises(urllib.error.HTTPError) as refused:
            answer(port, PROMPTS[1], num_predict=-1)
        assert refused.value.code == 500
        with pytest.raises(urllib.error.HTTPError) as refused:
            answer(port, PROMPTS[1])
        assert f"the RPC worker {place} does not answer" in refused.value.read().decode()
