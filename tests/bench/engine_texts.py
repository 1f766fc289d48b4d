"""How fast texts become vectors."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corral.runtime.engine.process import default_threads
from tests.bench.figures import Figure
from tests.bench.models import MINILM
from tests.bench.peer import serving_peer
from tests.bench.prompts import fresh_words
from tests.bench.side_by_side import RUNS, against_peer
from tests.programs import serving

TEXTS = 256
PARALLEL = 8
NUM_CTX = 512
LIKE = 0.99
"""The least cosine of two vectors of the same text: below it the servers do not do the same work."""


def embedding_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Texts per second, 256 of 5 to 60 words in one request."""
    path = MINILM.put(store)
    options = ("--embeddings", "--pooling", "mean")
    with (
        serving(store, home) as ours,
        serving_peer(
            path, threads=default_threads(), parallel=PARALLEL, num_cells=NUM_CTX * PARALLEL, options=options
        ) as peer,
    ):
        _embed_both(ours, peer, ["a text to begin with"])
        pairs = []
        for run in range(RUNS):
            texts = [fresh_words(5 + (run + 7 * index) % 56) for index in range(TEXTS)]
            mine, theirs = _embed_both(ours, peer, texts)
            pairs.append((TEXTS / mine, TEXTS / theirs))
    yield against_peer(f"{MINILM.label}, 256 texts embedded: texts/s", "texts/s", pairs, 1.0, most=False)


def _embed_both(ours: int, peer: int, texts: list[str]) -> tuple[float, float]:
    """Seconds each took."""
    options = {"num_thread": default_threads()}
    began = time.perf_counter()
    mine = _post(ours, "/api/embed", {"model": MINILM.name, "input": texts, "options": options, "keep_alive": -1})
    middle = time.perf_counter()
    theirs = _post(peer, "/v1/embeddings", {"input": texts})
    ended = time.perf_counter()
    one = _matrix(mine["embeddings"])
    two = _matrix([item["embedding"] for item in sorted(theirs["data"], key=lambda item: int(item["index"]))])
    cosines = (one * two).sum(axis=1)
    if cosines.min() < LIKE:
        raise ValueError(f"the vectors differ: a cosine of {cosines.min():.3f}")
    return middle - began, ended - middle


def _matrix(vectors: list[list[float]]) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = np.array(vectors, dtype=np.float64)
    normal: NDArray[np.float64] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return normal


def _post(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer
