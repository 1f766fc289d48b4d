"""How quickly safetensors become a GGUF file, from the page cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from corral.store.convert import FloatType, convert
from tests.bench.figures import Figure
from tests.checkpoints import write_safetensors
from tests.tiny_checkpoints import write_family

RUNS = 5
ROWS, COLUMNS = 16_384, 4096


def conversion_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Megabytes of safetensors a second, to F16: of a tiny model with one large matrix in it."""
    folder = home / "published"
    _, tensors = write_family(folder, "llama")
    random = np.random.default_rng(3)
    tensors["lm_head.weight"] = random.normal(0, 0.1, (ROWS, COLUMNS)).astype(np.float32)
    for kind in ("BF16", "F32"):
        path = write_safetensors(folder / "model.safetensors", tensors, kind)
        size_mb = path.stat().st_size / 1e6
        rates = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            convert(folder, home / "model.gguf", float_type=FloatType.F16)
            rates.append(size_mb / (time.perf_counter() - began))
        yield Figure(f"converting safetensors, {kind} to F16", tuple(rates[1:]), "MB/s", 100, most=False)
