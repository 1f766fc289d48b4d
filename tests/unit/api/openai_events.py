"""What tests of the OpenAI-compatible routes share: requests that work, and streams taken apart."""

from __future__ import annotations

import json
from typing import Any

from corral.runtime.verbs import ChatRequest, GenerateRequest
from tests.fakes.served import MODEL, Served

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "time"}}


def events(text: str) -> list[Any]:
    """The events of a stream of chunks; `[DONE]` as it is."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks)
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


def named_events(text: str) -> list[dict[str, Any]]:
    """The events of a stream whose events have names; each is called as its type."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    told = []
    for block in blocks:
        name, data = block.split("\n")
        told.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {told[-1]['type']}"
    return told


def asked(served: Served) -> ChatRequest:
    """The last chat the workbench was asked for."""
    request = served.fake.asked[-1]
    assert isinstance(request, ChatRequest)
    return request


def prompts_of(served: Served) -> list[GenerateRequest]:
    """All prompts the workbench was asked to complete."""
    return [one for one in served.fake.asked if isinstance(one, GenerateRequest)]
