"""The two routes that sort documents, on a workbench from memory that scores a document by its length."""

from __future__ import annotations

from typing import Any

import pytest

from corral.runtime.errors import NotSupported, PromptTooLong, QueueFull, RequestCanceled, RunnerDied
from corral.runtime.verbs import RerankRequest
from tests.fakes.served import MODEL, Serve, Served, ServedFake

DOCUMENTS = ["ab", {"text": "abcd"}, "", {"text": "ef", "source": 3}]
TEXTS = ("ab", "abcd", "", "ef")
BODY = {"model": MODEL, "query": "q", "documents": DOCUMENTS}


def asked(served: Served) -> RerankRequest:
    request = served.fake.asked[-1]
    assert isinstance(request, RerankRequest)
    return request


def test_rerank(served: Served) -> None:
    reply = served.post("/api/rerank", BODY | {"options": {"num_ctx": 64}}).json()
    assert reply == {
        "model": MODEL,
        "results": [
            {"index": 1, "document": "abcd", "relevance_score": 4.0},
            {"index": 0, "document": "ab", "relevance_score": 2.0},
            {"index": 3, "document": "ef", "relevance_score": 2.0},
            {"index": 2, "document": "", "relevance_score": 0.0},
        ],
        "total_duration": 5,
        "load_duration": 1,
        "prompt_eval_count": 12,
    }
    assert (asked(served).query, asked(served).documents) == ("q", TEXTS)
    assert (asked(served).truncate, asked(served).options) == (True, {"num_ctx": 64})


def test_openai_shaped(served: Served) -> None:
    reply = served.post("/v1/rerank", BODY).json()
    assert reply == {
        "model": MODEL,
        "object": "list",
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
        "results": [
            {"index": 1, "relevance_score": 4.0},
            {"index": 0, "relevance_score": 2.0},
            {"index": 3, "relevance_score": 2.0},
            {"index": 2, "relevance_score": 0.0},
        ],
    }
    told = served.post("/v1/rerank", BODY | {"return_documents": True, "top_n": 1}).json()
    assert told["results"] == [{"index": 1, "relevance_score": 4.0, "document": {"text": "abcd"}}]


@pytest.mark.parametrize("path", ["/api/rerank", "/v1/rerank"])
@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (0, 4), (1, 1), (3, 3), (99, 4)])
def test_top_n(served: Served, path: str, top_n: int | None, count: int) -> None:
    results = served.post(path, BODY | {"top_n": top_n}).json()["results"]
    assert [one["index"] for one in results] == [1, 0, 3, 2][:count]


@pytest.mark.parametrize("path", ["/api/rerank", "/v1/rerank"])
def test_fields_are_passed_on(served: Served, path: str) -> None:
    body = BODY | {"truncate": False, "keep_alive": "1m", "options": {"num_ctx": 32}}
    assert served.post(path, body).status_code == 200
    request = asked(served)
    assert (request.truncate, request.keep_alive_s, request.options) == (False, 60.0, {"num_ctx": 32})
    assert request.caller is not None


@pytest.mark.parametrize("body", [{}, {"documents": []}, {"query": "q", "documents": None}])
def test_without_documents_the_native_route_only_loads(served: Served, body: dict[str, Any]) -> None:
    reply = served.post("/api/rerank", {"model": MODEL} | body).json()
    assert (reply["model"], reply["results"]) == (MODEL, [])
    assert MODEL in served.fake.memory


@pytest.mark.parametrize("path", ["/api/rerank", "/v1/rerank"])
@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"model": "a b"}, 400, "invalid model name"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"query": None}, 400, "query is required"),
        ({"query": 3}, 400, "json: cannot unmarshal number into Go struct field RerankRequest.query of type string"),
        ({"top_n": -1}, 400, "top_n must not be negative"),
        ({"documents": ["a", 3]}, 400, 'documents must be texts or objects with a "text"'),
        ({"documents": [{"body": "a"}]}, 400, 'documents must be texts or objects with a "text"'),
        ({"keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
    ],
)
def test_refusals(served: Served, path: str, fields: dict[str, Any], status: int, text: str) -> None:
    response = served.post(path, BODY | fields)
    error = response.json()["error"]
    assert (response.status_code, error["message"] if path.startswith("/v1") else error) == (status, text)


def test_the_shared_form_wants_documents(served: Served) -> None:
    response = served.post("/v1/rerank", BODY | {"documents": []})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "documents must be a list of at least one text"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotSupported('"x" does not support rerank'), 400),
        (PromptTooLong(9, 4), 400),
        (RunnerDied("x"), 500),
        (QueueFull(3), 503),
        (RequestCanceled(), 499),
    ],
)
def test_errors(serve: Serve, error: Exception, status: int) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with = error
    served = serve(fake)
    response = served.post("/api/rerank", BODY)
    assert (response.status_code, response.json()) == (status, {"error": str(error)})
    response = served.post("/v1/rerank", BODY)
    assert (response.status_code, response.json()["error"]["message"]) == (status, str(error))
