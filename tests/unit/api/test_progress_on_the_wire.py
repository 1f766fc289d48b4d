"""How far load and prompt are, over HTTP: for who asks, in the form of each API; others get what they always got."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral.api.client import HttpClient
from corral.runtime.verbs import ChatRequest, GenerateRequest, LoadProgress, Message, PromptProgress
from tests.fakes.served import MODEL, Served

HI = [{"role": "user", "content": "hi"}]
TOLD = (LoadProgress(0.5), LoadProgress(1.0), PromptProgress(4, 12, 4), PromptProgress(12, 12, 4, 250_000_000))
NATIVE: list[dict[str, object]] = [
    {"load_progress": 0.5},
    {"load_progress": 1.0},
    {"prompt_eval_progress": {"cached": 4, "completed": 4, "total": 12}},
    {"prompt_eval_progress": {"cached": 4, "completed": 12, "total": 12}},
]


@pytest.fixture
def served(served: Served) -> Served:
    """A workbench that would tell."""
    served.fake.progress = TOLD
    return served


def without_time(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "created_at"} for line in lines]


def test_generate_tells_who_asks(served: Served) -> None:
    body = {"model": MODEL, "prompt": "hi"}
    lines = without_time(served.lines("/api/generate", body | {"prompt_eval_progress": True}))
    assert lines[:4] == [{"model": MODEL, "response": "", "done": False, **one} for one in NATIVE]
    assert lines[4:] == without_time(served.lines("/api/generate", body))


def test_chat_tells_who_asks(served: Served) -> None:
    body = {"model": MODEL, "messages": HI}
    lines = without_time(served.lines("/api/chat", body | {"prompt_eval_progress": True}))
    empty = {"role": "assistant", "content": ""}
    assert lines[:4] == [{"model": MODEL, "message": empty, "done": False, **one} for one in NATIVE]
    assert lines[4:] == without_time(served.lines("/api/chat", body))


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_one_object_tells_nothing(served: Served, path: str) -> None:
    body = {"model": MODEL, "prompt": "hi", "messages": HI, "stream": False, "prompt_eval_progress": True}
    assert not {"load_progress", "prompt_eval_progress"} & served.post(path, body).json().keys()


def test_a_load_is_a_stream_for_who_asks(served: Served) -> None:
    body = {"model": MODEL, "prompt_eval_progress": True}
    assert served.post("/api/generate", body).headers["Content-Type"] == "application/x-ndjson"
    assert served.fake.asked[-1] == GenerateRequest(MODEL, caller=served.fake.asked[-1].caller, progress=True)  # type: ignore[attr-defined]
    plain = served.post("/api/generate", {"model": MODEL})
    assert plain.headers["Content-Type"] == "application/json; charset=utf-8"


def events(served: Served, **changes: object) -> list[dict[str, Any]]:
    body = {"model": MODEL, "messages": HI, "stream": True, "stream_options": {"include_usage": True}, **changes}
    text = served.post("/v1/chat/completions", body).text
    assert text.endswith("data: [DONE]\n\n")
    found = [json.loads(block.removeprefix("data: ")) for block in text.split("\n\n")[:-2]]
    return [{key: value for key, value in one.items() if key not in ("id", "created")} for one in found]


def test_completions_tell_in_the_form_of_llama_cpps_server(served: Served) -> None:
    told, plain = events(served, return_progress=True), events(served)
    assert told[2:] == plain
    assert [one["prompt_progress"] for one in told[:2]] == [
        {"total": 12, "cache": 4, "processed": 4, "time_ms": 0},
        {"total": 12, "cache": 4, "processed": 12, "time_ms": 250},
    ]
    choice = {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
    assert all(one["choices"] == [choice] and one["object"] == "chat.completion.chunk" for one in told[:2])
    assert not any("prompt_progress" in one for one in plain)
    assert (plain[-1]["choices"], plain[-1]["usage"]["total_tokens"]) == ([], 15)


def test_a_whole_completion_tells_nothing(served: Served) -> None:
    body = {"model": MODEL, "messages": HI, "return_progress": True}
    assert "prompt_progress" not in served.post("/v1/chat/completions", body).json()


async def test_our_own_client_is_told(served: Served) -> None:
    client = HttpClient(served.service.base_url)
    request = ChatRequest(MODEL, (Message("user", "hi"),), progress=True)
    chunks = [chunk async for chunk in client.chat(request)]
    await client.close()
    assert [chunk.progress for chunk in chunks[:3]] == list(TOLD[:3])
    assert chunks[3].progress == PromptProgress(12, 12, 4)
    assert all(chunk.progress is None for chunk in chunks[4:])
    assert "".join(chunk.text for chunk in chunks) == "t0 t1 t2 "
