"""The two routes about tokens, on a workbench from memory whose tokens are characters."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from corral.runtime.errors import BadRequest, QueueFull
from corral.runtime.verbs import ChatRequest, DetokenizeRequest, Message, TokenizeRequest
from tests.fakes.served import MODEL, Serve, Served, ServedFake

TEXT = {"model": MODEL, "content": "ab"}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
TOKENS = {"model": MODEL, "tokens": [97, 98]}
FIELDS = {"options": {"num_ctx": 64}, "keep_alive": "1m"}


def test_tokenize(served: Served) -> None:
    reply = served.post("/api/tokenize", TEXT).json()
    assert reply == {"model": MODEL, "tokens": [97, 98], "count": 2, "total_duration": 5, "load_duration": 1}
    assert served.post("/api/tokenize", TEXT | {"add_special": True} | FIELDS).json()["tokens"] == [94, 97, 98]
    asked = served.fake.asked[-1]
    assert isinstance(asked, TokenizeRequest)
    assert asked.caller is not None
    assert replace(asked, caller=None) == TokenizeRequest(MODEL, "ab", True, {"num_ctx": 64}, 60.0)
    assert served.post("/api/tokenize", TEXT | {"content": ""}).json()["tokens"] == []


def test_tokenize_a_chat(served: Served) -> None:
    assert served.post("/api/tokenize", CHAT | {"think": False} | FIELDS).json()["tokens"] == [72, 105]
    asked = served.fake.asked[-1]
    assert isinstance(asked, ChatRequest)
    assert (asked.messages, asked.think) == ((Message("user", "Hi"),), False)
    assert (asked.options, asked.keep_alive_s) == ({"num_ctx": 64}, 60.0)


def test_detokenize(served: Served) -> None:
    reply = served.post("/api/detokenize", TOKENS | FIELDS).json()
    assert reply == {"model": MODEL, "content": "ab", "total_duration": 5, "load_duration": 1}
    asked = served.fake.asked[-1]
    assert isinstance(asked, DetokenizeRequest)
    assert replace(asked, caller=None) == DetokenizeRequest(MODEL, (97, 98), {"num_ctx": 64}, 60.0)
    assert served.post("/api/detokenize", TOKENS | {"tokens": []}).json()["content"] == ""


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("tokenize", TEXT | {"model": ""}, 400, "model is required"),
        ("tokenize", TEXT | {"model": "nope"}, 404, "model 'nope' not found"),
        ("tokenize", {"model": MODEL}, 400, "content or messages is required, and not both"),
        ("tokenize", TEXT | CHAT, 400, "content or messages is required, and not both"),
        (
            "tokenize",
            CHAT | {"think": "x"},
            400,
            'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ("detokenize", TOKENS | {"model": ""}, 400, "model is required"),
        ("detokenize", TOKENS | {"model": "nope"}, 404, "model 'nope' not found"),
        ("detokenize", {"model": MODEL}, 400, "tokens is required"),
        ("detokenize", TOKENS | {"tokens": [-1]}, 400, "tokens must be numbers of tokens"),
        ("detokenize", TOKENS | {"tokens": [2**70]}, 400, "tokens must be numbers of tokens"),
    ],
)
def test_refusals(served: Served, path: str, body: dict[str, Any], status: int, text: str) -> None:
    response = served.post(f"/api/{path}", body)
    assert (response.status_code, response.json()) == (status, {"error": text})


@pytest.mark.parametrize(("error", "status"), [(BadRequest("x"), 400), (QueueFull(3), 503)])
def test_errors(serve: Serve, error: Exception, status: int) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with = error
    served = serve(fake)
    for path, body in (("tokenize", TEXT), ("tokenize", CHAT), ("detokenize", TOKENS)):
        response = served.post(f"/api/{path}", body)
        assert (response.status_code, response.json()) == (status, {"error": str(error)})
