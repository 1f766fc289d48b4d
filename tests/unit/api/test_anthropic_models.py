"""The list of models as Anthropic's clients know it: asked for at the same place as OpenAI's, told by a header."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fakes.served import MODEL, Serve, Served, ServedFake

VERSION = {"anthropic-version": "2023-06-01"}
NAMES = [f"m{number}:latest" for number in range(25)]


@pytest.fixture
def many(serve: Serve) -> Served:
    return serve(ServedFake.with_models(*NAMES))


def get(served: Served, path: str) -> httpx.Response:
    return served.request("GET", path, **VERSION)


def page(served: Served, query: str) -> tuple[list[str], bool]:
    body = get(served, f"/v1/models?{query}").json()
    ids = [model["id"] for model in body["data"]]
    assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return ids, body["has_more"]


def test_models_in_anthropics_form(served: Served) -> None:
    model = {
        "type": "model",
        "id": MODEL,
        "display_name": MODEL,
        "created_at": "2026-06-02T12:30:00Z",
        "lifecycle": "active",
        "max_input_tokens": 8192,
        "max_tokens": 8192,
    }
    listed = {"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL}
    assert get(served, "/v1/models").json() == listed
    assert get(served, f"/v1/models/{MODEL}").json() == model
    assert served.request("GET", "/v1/models").json()["object"] == "list"


def test_no_models_are_an_empty_page(serve: Serve) -> None:
    assert page(serve(ServedFake()), "") == ([], False)


def test_pages(many: Served) -> None:
    assert page(many, "") == (NAMES, False)
    assert page(many, "limit=20") == (NAMES[:20], True)
    assert page(many, f"limit=20&after_id={NAMES[19]}") == (NAMES[20:], False)
    assert page(many, f"limit=3&before_id={NAMES[5]}") == (NAMES[2:5], True)
    assert page(many, f"limit=5&before_id={NAMES[2]}") == (NAMES[:2], False)
    assert page(many, f"after_id={NAMES[-1]}") == ([], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=%C2%B2", "after_id=nope", "before_id=x"])
def test_what_is_no_page_is_refused_in_anthropics_form(many: Served, query: str) -> None:
    reply = get(many, f"/v1/models?{query}")
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["error"]["type"]) == (400, "invalid_request_error")
    assert reply.headers["request-id"] == body["request_id"]


def test_a_missing_model(served: Served) -> None:
    reply = get(served, "/v1/models/nope")
    assert reply.status_code == 404
    assert reply.json()["error"] == {"type": "not_found_error", "message": "model 'nope' not found"}
