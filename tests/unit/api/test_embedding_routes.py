"""The three routes that turn texts into vectors, on a workbench from memory."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from corral.runtime.errors import PromptTooLong, QueueFull, RequestCanceled, RunnerDied
from corral.runtime.verbs import EmbedRequest
from tests.fakes.served import MODEL, Serve, Served, ServedFake

TOKENS = "invalid input type: token ids are of another model's vocabulary, send texts"


def asked(served: Served) -> EmbedRequest:
    request = served.fake.asked[-1]
    assert isinstance(request, EmbedRequest)
    return request


@pytest.mark.parametrize(("given", "texts"), [("hi", ("hi",)), (["hi", "", "you"], ("hi", "", "you")), ([], ())])
def test_embed(served: Served, given: Any, texts: tuple[str, ...]) -> None:
    reply = served.post("/api/embed", {"model": MODEL, "input": given, "options": {"num_ctx": 64}}).json()
    assert (reply["model"], reply["embeddings"]) == (MODEL, [[float(len(text)), 0.5, 0.5] for text in texts])
    assert (reply["total_duration"], reply["load_duration"]) == (5, 1)
    assert reply.get("prompt_eval_count", 0) == sum(map(len, texts))
    assert (asked(served).texts, asked(served).truncate, asked(served).options) == (texts, True, {"num_ctx": 64})


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": ""}])
def test_embed_without_a_text_only_loads(served: Served, body: dict[str, Any]) -> None:
    reply = served.post("/api/embed", {"model": MODEL} | body).json()
    assert (reply["model"], reply["embeddings"]) == (MODEL, [])
    assert MODEL in served.fake.memory


def test_embed_passes_its_fields_on(served: Served) -> None:
    body = {"model": MODEL, "input": "x", "truncate": False, "dimensions": 2, "keep_alive": "1m"}
    assert served.post("/api/embed", body).json()["embeddings"] == [[1.0, 0.5]]
    request = asked(served)
    assert (request.truncate, request.dimensions, request.keep_alive_s) == (False, 2, 60.0)


def test_the_older_route(served: Served) -> None:
    assert served.post("/api/embeddings", {"model": MODEL, "prompt": "abc"}).json() == {"embedding": [3.0, 0.5, 0.5]}
    assert served.post("/api/embeddings", {"model": MODEL}).json() == {"embedding": []}


@pytest.mark.parametrize(
    ("error", "status", "older"),
    [
        (PromptTooLong(9, 4), 400, 500),
        (RunnerDied("x"), 500, 500),
        (QueueFull(3), 503, 503),
        (RequestCanceled(), 499, 499),
    ],
)
def test_errors(serve: Serve, error: Exception, status: int, older: int) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with = error
    served = serve(fake)
    for path, expected in (("/api/embed", status), ("/api/embeddings", older)):
        response = served.post(path, {"model": MODEL, "input": "x", "prompt": "x"})
        assert (response.status_code, response.json()) == (expected, {"error": str(error)})


@pytest.mark.parametrize("encoding", [None, "float", "FLOAT", "base64", "Base64"])
def test_openai(served: Served, encoding: str | None) -> None:
    body = {"model": MODEL, "input": ["ab", ""], "encoding_format": encoding}
    reply = served.post("/v1/embeddings", body).json()
    vectors: list[Any] = [one["embedding"] for one in reply["data"]]
    if encoding and encoding.lower() == "base64":
        vectors = [list(struct.unpack("<3f", base64.b64decode(vector))) for vector in vectors]
    assert vectors == [[2.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
    assert [(one["object"], one["index"]) for one in reply["data"]] == [("embedding", 0), ("embedding", 1)]
    assert (reply["object"], reply["model"]) == ("list", MODEL)
    assert reply["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_openai_embeds_an_empty_text(served: Served) -> None:
    assert len(served.post("/v1/embeddings", {"model": MODEL, "input": ""}).json()["data"]) == 1


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"input": [1, 2]}, 400, TOKENS),
        ({"input": [[1, 2]]}, 400, TOKENS),
        ({"input": "x", "dimensions": -1}, 400, "dimensions must be between 0 and 65536"),
        ({"input": {}}, 400, "invalid input type"),
        ({}, 400, "invalid input"),
        ({"input": []}, 400, "invalid input"),
        (
            {"input": "x", "encoding_format": "hex"},
            400,
            "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].",
        ),
        ({"input": "x", "model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
    ],
)
def test_openai_refuses(served: Served, fields: dict[str, Any], status: int, text: str) -> None:
    response = served.post("/v1/embeddings", {"model": MODEL} | fields)
    assert (response.status_code, response.json()["error"]["message"]) == (status, text)
