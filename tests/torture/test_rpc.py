"""`make torture`: one model over llama.cpp's RPC workers says what it says here.

`CORRAL_RPC_BUILD` names a folder with a llama-cpp-python that has RPC (docs/remote.md says how to make one); without it
one is built, once, and kept.
"""

from __future__ import annotations

import contextlib
import http.client
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

from tests.conftest import STARTER_MODEL, add_to_store, cache_folder
from tests.programs import free_port, serving
from tests.unit.runtime.tiny_models import write_tiny
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


def ask(
    port: int, prompt: str, model: str = STARTER_MODEL, *, stream: bool = False, **options: object
) -> http.client.HTTPResponse:
    options = {"temperature": 0, "num_predict": TOKENS, "num_ctx": 512, **options}
    body = {"model": model, "prompt": prompt, "stream": stream, "options": options}
    reply = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/generate", json.dumps(body).encode(), timeout=120)
    assert isinstance(reply, http.client.HTTPResponse)
    return reply


def answer(port: int, prompt: str, **options: object) -> dict[str, Any]:
    with ask(port, prompt, **options) as reply:  # type: ignore[arg-type]
        found: dict[str, Any] = json.loads(reply.read())
    return found


def gpu_layers(port: int) -> int:
    """How many layers the loaded model is said to have on devices."""
    models: list[dict[str, Any]] = []

    def is_shown() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/snapshot", timeout=30) as reply:
            models[:] = json.loads(reply.read())["snapshot"]["models"]
        return bool(models) and models[0]["num_layers"] > 0

    block_until(is_shown)
    return int(models[0]["gpu_layers"])


def test_a_model_over_workers_says_what_it_says_here(build: Path, own_store: Path, tmp_path: Path) -> None:
    with serving(own_store, tmp_path, **with_rpc(build)) as port:
        here = [answer(port, prompt)["context"] for prompt in PROMPTS]
        assert gpu_layers(port) == 0
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(build)) for _ in range(2)]
        before = [process.memory_info().rss for _, process in workers]
        port = stack.enter_context(serving(own_store, tmp_path, **with_rpc(build, *(place for place, _ in workers))))
        there = [answer(port, prompt)["context"] for prompt in PROMPTS]
        assert gpu_layers(port) > 0
        took = [process.memory_info().rss - rss for (_, process), rss in zip(workers, before, strict=True)]
    assert there == here  # token for token
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


def test_a_worker_that_dies_in_the_middle_of_an_answer_ends_it_with_an_error(
    build: Path, own_store: Path, tmp_path: Path
) -> None:
    """The answer of a model that is all here goes on beside it."""
    add_to_store(write_tiny(tmp_path / "local.gguf", "full"), own_store, "local")
    with worker(build) as (place, process), serving(own_store, tmp_path, **with_rpc(build, place)) as port:
        beside = ask(port, "fox", "local", stream=True, num_gpu=0, num_predict=-1, num_ctx=256)
        shared = ask(port, PROMPTS[1], stream=True, num_predict=-1)
        with beside, shared:
            begun = [json.loads(next(shared)) for _ in range(4)]
            assert all(line["response"] and not line["done"] for line in begun)
            assert not json.loads(next(beside)).get("error")
            process.kill()
            rest = [json.loads(line) for line in shared]
            assert "model runner has unexpectedly stopped" in rest[-1]["error"]
            assert f"shared with the RPC workers {place}" in rest[-1]["error"]
            assert not any("error" in line for line in rest[:-1])
            for _ in range(20):
                line = json.loads(next(beside))
                assert "error" not in line
                if line["done"]:  # a random model may end its answer by chance
                    break
        with pytest.raises(urllib.error.HTTPError) as refused:
            answer(port, PROMPTS[1])
        assert f"the RPC worker {place} does not answer" in refused.value.read().decode()
        with ask(port, "fox", "local", num_gpu=0, num_ctx=256) as reply:
            assert json.loads(reply.read())["done"]
