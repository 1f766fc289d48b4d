"""What a model has read outlives the model in memory, and goes with the model on disk; over HTTP, on the real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from corral.api.server import Service
from corral.runtime.engine.shelf import SUFFIX
from corral.runtime.settings import Settings
from tests.conftest import STARTER_MODEL
from tests.waiting import block_until

LONG = " ".join(f"Item {number} of the list costs {number * 7 % 90} coins." for number in range(12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sequences"


@pytest.fixture
def client(own_store: Path, folder: Path) -> Iterator[httpx.Client]:
    settings = Settings(models=own_store, listen_port=0, base_url="", prompt_cache=folder, prompt_cache_bytes=10**8)
    service = Service(settings, warm=False)
    service.start()
    with httpx.Client(base_url=service.base_url, timeout=120) as client:
        yield client
    service.stop(drain_s=0)


def chat(client: httpx.Client, *messages: str, **fields: object) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(messages)]
    body = {"model": STARTER_MODEL, "messages": turns, "stream": False, "options": {"num_predict": 8}, **fields}
    reply = client.post("/api/chat", json=body)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def unload(client: httpx.Client) -> None:
    chat(client, keep_alive=0)
    block_until(lambda: client.get("/api/ps").json()["models"] == [])


def test_a_chat_goes_on_after_its_model_was_unloaded(client: httpx.Client, folder: Path) -> None:
    first = chat(client, LONG)
    unload(client)
    assert [path.stat().st_mode & 0o777 for path in folder.glob(f"*{SUFFIX}")] == [0o600]
    second = chat(client, LONG, first["message"]["content"], "And then?")
    assert "prompt_eval_cached_count" not in first
    assert second["prompt_eval_cached_count"] >= first["prompt_eval_count"]


def test_what_was_read_goes_with_the_model(client: httpx.Client, folder: Path) -> None:
    chat(client, LONG)
    unload(client)
    assert list(folder.iterdir())
    assert client.request("DELETE", "/api/delete", json={"model": STARTER_MODEL}).status_code == 200
    assert list(folder.iterdir()) == []
