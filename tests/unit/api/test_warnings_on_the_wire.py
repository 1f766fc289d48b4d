"""Nothing is passed over in silence: unknown fields are named, in the answer and a header, or refused."""

from __future__ import annotations

import json

import pytest

from tests.fakes.served import MODEL, Serve, Served

HI = [{"role": "user", "content": "hi", "colour": "red"}]
BODY = {"model": MODEL, "prompt": "hi", "messages": HI, "temprature": 1, "unset": None}
ROOT, NESTED = (
    "field 'temprature' is not known and was ignored",
    "field 'colour' of Message is not known and was ignored",
)
CHAT = {key: value for key, value in BODY.items() if key != "prompt"}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_unknown_fields_are_named(served: Served, path: str, stream: bool) -> None:
    served.fake.warnings = ("said by the engine",)
    response = served.post(path, CHAT | {"stream": stream})
    assert response.status_code == 200
    assert set(json.loads(response.headers["X-Corral-Warnings"])) == {ROOT, NESTED}
    assert '"said by the engine"' in response.text
    assert ROOT in response.text
    assert NESTED in response.text


def test_what_the_work_finds_is_in_the_header_too(serve: Serve) -> None:
    served = serve()
    requests = served.fake.requests

    def warn() -> None:
        for row in requests.rows():
            requests.update(row.id, warnings=("tschüß\n",))

    requests.on_change = warn
    response = served.post("/api/generate", {"model": MODEL, "prompt": "x"})
    assert response.headers["X-Corral-Warnings"] == '["tsch\\u00fc\\u00df\\n"]'


def test_a_request_as_it_should_be_warns_of_nothing(served: Served) -> None:
    response = served.post("/api/chat", {"model": MODEL, "messages": [], "stream": False, "unset": None})
    assert "X-Corral-Warnings" not in response.headers
    assert "warnings" not in response.json()


def test_names_match_in_any_case(served: Served) -> None:
    assert "X-Corral-Warnings" not in served.post("/api/show", {"MODEL": MODEL}).headers


def test_countless_unknown_fields_are_a_few_words(served: Served) -> None:
    body = {"model": MODEL, **{f"{number}{'x' * 500}": 1 for number in range(1000)}}
    header = served.post("/api/show", body).headers["X-Corral-Warnings"]
    assert 1 <= len(json.loads(header)) <= 10
    assert len(header) <= 2000


def test_a_page_may_read_the_headers(served: Served) -> None:
    response = served.request("GET", "/api/version", Origin="http://localhost:3000")
    assert response.headers["Access-Control-Expose-Headers"] == "X-Request-Id,X-Corral-Warnings"


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/api/show", "/api/embed"])
def test_strict_refuses_unknown_fields(serve: Serve, path: str) -> None:
    served = serve(strict=True)
    response = served.post(path, CHAT)
    assert response.status_code == 400
    assert ROOT in response.text
    assert served.fake.asked == []
    assert served.post("/api/show", {"model": MODEL}).status_code == 200
