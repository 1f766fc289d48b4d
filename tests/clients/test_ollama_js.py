"""The unmodified `ollama` package of npm against a real service with a real model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LiveServer
from tests.fetched import npm_packages

pytestmark = pytest.mark.model
PACKAGES = ("ollama@0.6.4", "whatwg-fetch@3.6.20")


@pytest.fixture(scope="module")
def package() -> Path:
    """A folder the package is installed in; kept between runs."""
    return npm_packages(*PACKAGES)


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
