"""What tells how templates are rendered: those of Ollama's library, Go's text/template, Hugging Face's renderer.

All are fetched or built once and kept; nobody's templates lie in this repository.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fetched import kept, npm_packages

HERE: Final = Path(__file__).parent
MAPPING: Final = "@huggingface/ollama-utils"
MAPPING_VERSION: Final = "0.0.18"
TRANSFORMERS: Final = "transformers==5.23.0"

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")


@dataclass(frozen=True, slots=True)
class Pair:
    """A model of Ollama's library: the template it has there, and the one its file carries."""

    model: str
    go: str
    jinja: str


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one template makes of one case: a text, or an error."""

    text: str
    error: str


@cache
def pairs() -> tuple[Pair, ...]:
    """The templates of Ollama's library, each under a name of its own."""
    folder = npm_packages(f"{MAPPING}@{MAPPING_VERSION}")
    source = folder / "node_modules" / MAPPING / "dist" / "index.js"
    command = ["node", str(HERE / "mapping.mjs"), str(source)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    seen: dict[str, int] = {}
    found = []
    for one in told:
        model = one["model"].removeprefix("library/")
        seen[model] = seen.get(model, 0) + 1
        number = f"#{seen[model]}" if seen[model] > 1 else ""
        found.append(Pair(model + number, one["ollama"]["template"], one["gguf"]))
    return tuple(found)


def by_go(templates: list[str], cases: list[dict[str, Any]]) -> list[list[Rendering]]:
    """Return what Go makes of every case by every template."""
    program = _go_program()
    return _asked([str(program)], dict(os.environ), templates, cases)


def by_huggingface(templates: list[str], cases: list[dict[str, Any]]) -> list[list[Rendering]]:
    """Return what Hugging Face's renderer makes of every case by every template."""
    packages = kept(TRANSFORMERS, _install_transformers)
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **quiet, "PYTHONPATH": str(packages)}
    return _asked([sys.executable, str(HERE / "huggingface.py")], environment, templates, cases)


def _asked(
    command: list[str], environment: dict[str, str], templates: list[str], cases: list[dict[str, Any]]
) -> list[list[Rendering]]:
    asked = json.dumps({"templates": templates, "cases": cases})
    ended = subprocess.run(command, env=environment, input=asked, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    return [[Rendering(**one) for one in row] for row in json.loads(ended.stdout)]


def _install_transformers(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder), TRANSFORMERS]
    subprocess.run(command, check=True, timeout=170)


def _go_program() -> Path:
    source = HERE / "gotemplates"
    text = b"".join((source / name).read_bytes() for name in ("go.mod", "main.go"))

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            environment = {**os.environ, "GOCACHE": scratch, "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
            command = ["go", "build", "-o", str(folder / "gotemplates"), "."]
            subprocess.run(command, cwd=source, env=environment, check=True, timeout=120)

    return kept(f"gotemplates-{hashlib.sha256(text).hexdigest()[:16]}", build) / "gotemplates"
