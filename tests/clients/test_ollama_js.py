"""The unmodified `ollama` package of npm against a real service with a real model."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import LiveServer, cache_folder

pytestmark = pytest.mark.model
PACKAGES = ("ollama@0.6.4", "whatwg-fetch@3.6.20")


@pytest.fixture(scope="module")
def package() -> Path:
    """A folder the package is installed in; kept between runs."""
    kept = cache_folder() / "npm" / "+".join(PACKAGES)
    if not (kept / "node_modules").exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as scratch:
            quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--fetch-retries=5")
            subprocess.run(["npm", "install", *quiet, "--prefix", scratch, *PACKAGES], check=True, timeout=150)
            (Path(scratch) / "node_modules").replace(kept / "node_modules")
    return kept


def test_everything_it_is_used_for(package: Path, live_server: LiveServer) -> None:
    script = Path(__file__).with_name("ollama_client.mjs")
    command = ["node", str(script), str(package), live_server.base_url, live_server.model]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    said = "Hello there, my friend!"
    assert told["chat"] == {"role": "assistant", "content": said}
    assert told["generate"] == said
    for name in ("chatStream", "generateStream"):
        assert told[name]["text"] == said
        assert told[name]["done"] == [False] * (len(told[name]["done"]) - 1) + [True]
        assert told[name]["reason"] == "stop"
    assert isinstance(told["schema"]["ok"], bool)
    assert told["embed"] == [576, 576]
    assert live_server.model in told["list"]
    assert live_server.model in told["ps"]
    assert told["show"] == "llama"
    assert told["version"].startswith("0.")
    assert told["missing"] == {"name": "ResponseError", "message": "model 'nope' not found", "status": 404}
    assert told["aborted"] == "AbortError"
