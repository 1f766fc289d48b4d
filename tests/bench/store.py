"""What the store costs: a large model in over the wire and from a file, beside curl and sha256sum; lists and looks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from corral.store.blobs import BlobStore
from corral.store.manifests import Layer, ManifestStore, MediaType, ModelConfig
from corral.store.names import ModelName
from corral.store.paths import StorePaths
from tests.bench.figures import Figure
from tests.conftest import STARTER_MODEL
from tests.programs import CORRAL, environment, free_port, serving
from tests.unit.store.handmade import Gguf, tensor
from tests.waiting import block_until

LARGE = 10**9
RUNS = 3
LOOKS = 15
MODELS = 1000

_SERVER = """
import sys
from aiohttp import web

folder, port = sys.argv[1:]
app = web.Application()
app.router.add_get("/v2/library/large/manifests/latest", lambda request: web.FileResponse(f"{folder}/manifest"))
blob = lambda request: web.FileResponse(f"{folder}/{request.match_info['digest']}")
app.router.add_get("/v2/library/large/blobs/{digest}", blob)
web.run_app(app, host="127.0.0.1", port=int(port), print=None)
"""


def store_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Ratios of time beside what reads the same bytes once, megabytes, and milliseconds."""
    folder = home / "large"
    folder.mkdir()
    weights = _large_gguf(folder / "large.gguf")
    yield from _pulling(folder, weights, home)
    yield _creating(weights, home)
    weights.unlink()
    with serving(_crowd(home / "crowd"), home) as port:
        yield Figure(f"/api/tags, {MODELS:,} models", _looks(port, "/api/tags"), "ms", 100)
    found = home / "found"
    for number in range(MODELS):
        path = found / f"user-{number % 50}" / f"model-{number}" / f"model-{number}-Q4_K_M.gguf"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(Gguf()))
    with serving(store, home, CORRAL_GGUF_FOLDERS=str(found)) as port:
        yield Figure(f"/api/tags, {MODELS:,} GGUF files of other tools", _looks(port, "/api/tags"), "ms", 100)
        yield Figure("/api/show", _looks(port, "/api/show", {"model": STARTER_MODEL}), "ms", 50)


def _pulling(folder: Path, weights: Path, home: Path) -> Iterator[Figure]:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(folder), str(port)])
    try:
        digest = _publish(folder, weights)
        url = f"http://127.0.0.1:{port}/v2/library/large"
        block_until(lambda: _answers(f"{url}/manifests/latest"))
        ratios, grown = [], []
        for number in range(RUNS):
            plain = _curl(f"{url}/blobs/{digest}", folder / "fetched")
            (folder / "fetched").unlink()
            root = home / f"pulled-{number}"
            with serving(root, home) as ours, _watched(ours) as memory:
                began = time.perf_counter()
                _post(ours, "/api/pull", {"model": f"{url.replace('/v2', '')}", "insecure": True})
                ratios.append(plain / (time.perf_counter() - began))
            grown.append(memory[0] / 1e6)
            for path in (root / "blobs").iterdir():
                path.unlink()
        yield Figure("speed of a pull of 1 GB : curl, then sha256sum", tuple(ratios), "x", 0.8, most=False)
        yield Figure("memory of a pull of 1 GB, over idle", tuple(grown), "MB", 100)
    finally:
        server.terminate()
        server.wait(10)


def _creating(weights: Path, home: Path) -> Figure:
    modelfile = home / "Modelfile"
    modelfile.write_text(f"FROM {weights}\n")
    ratios = []
    for number in range(RUNS):
        began = time.perf_counter()
        subprocess.run(["sha256sum", str(weights)], check=True, stdout=subprocess.DEVNULL)
        plain = time.perf_counter() - began
        root = home / f"created-{number}"
        environ = environment(root, free_port(), home)
        began = time.perf_counter()
        argv = [CORRAL, "create", "large", "-f", str(modelfile)]
        subprocess.run(argv, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ratios.append((time.perf_counter() - began) / plain)
        for path in (root / "blobs").iterdir():
            path.unlink()
    return Figure("time of a create from a GGUF of 1 GB : sha256sum", tuple(ratios), "x", 1.2)


def _large_gguf(path: Path) -> Path:
    columns = 1 << 14
    rows = LARGE // 4 // columns
    head = Gguf(tensors=(tensor("token_embd.weight", (columns, rows), 0, 0),), data=b"").header
    with path.open("wb") as file:
        file.write(head)
        for _ in range(rows):
            file.write(os.urandom(4 * columns))
    return path


def _publish(folder: Path, weights: Path) -> str:
    with weights.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    config = b'{"model_format":"gguf","model_family":"llama"}'
    config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    (folder / config_digest).write_bytes(config)
    (folder / digest).hardlink_to(weights)
    layer = {"mediaType": MediaType.MODEL, "digest": digest, "size": weights.stat().st_size}
    kept = {"mediaType": MediaType.CONFIG, "digest": config_digest, "size": len(config)}
    (folder / "manifest").write_text(json.dumps({"schemaVersion": 2, "config": kept, "layers": [layer]}))
    return digest


def _curl(url: str, target: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["curl", "-s", "-o", str(target), url], check=True)
    subprocess.run(["sha256sum", str(target)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextlib.contextmanager
def _watched(port: int) -> Iterator[list[int]]:
    """The most bytes the server on `port` grows by while this is open, as the one entry of the list."""
    listening = [one for one in psutil.net_connections("tcp") if one.status == "LISTEN"]
    (pid,) = {one.pid for one in listening if getattr(one.laddr, "port", 0) == port}
    assert pid is not None
    process, ended = psutil.Process(pid), threading.Event()
    idle = process.memory_info().rss
    most = [0]

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], process.memory_info().rss - idle)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


def _crowd(root: Path) -> Path:
    paths = StorePaths(root)
    blobs, manifests = BlobStore(paths), ManifestStore(paths)
    for number in range(MODELS):
        blob = blobs.put_bytes(bytes(Gguf()) + number.to_bytes(4))
        name = ModelName.parse(f"user-{number % 50}/model-{number}")
        config = ModelConfig(model_format="gguf", model_family="llama", model_type="1K", file_type="Q4_K_M")
        manifests.write(name, config, [Layer(MediaType.MODEL, blob.digest, blob.size)])
    return root


def _looks(port: int, path: str, body: object = None) -> tuple[float, ...]:
    times = []
    for _ in range(LOOKS + 2):
        began = time.perf_counter()
        _post(port, path, body)
        times.append(1000 * (time.perf_counter() - began))
    return tuple(times[2:])  # the first ones read headers, and settle what lies still


def _post(port: int, path: str, body: object = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=600) as reply:
        text = reply.read()
    assert b'"error"' not in text[-500:], text[-500:]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False
