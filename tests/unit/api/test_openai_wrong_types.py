"""Every field of every request of the OpenAI-compatible API, of every wrong type: an answer or a refusal, no fault."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from corral.api.openai.body import OpenAIBody
from corral.api.openai.completions import CompletionBody
from corral.api.openai.embeddings import EmbeddingsBody
from corral.api.openai.responses_body import ResponsesBody
from corral.api.openai.schemas import ChatCompletionBody
from tests.fakes.served import MODEL, Served

WRONG: tuple[Any, ...] = (
    True,
    -1,
    2**70,
    1.5,
    1e300,
    "",
    "\udc00",
    "x",
    [],
    [None],
    [[]],
    [5],
    {},
    {"": {}},
    {"type": 5},
)
OF_EACH_KIND = ("num_ctx", "min_p", "use_mmap", "dry_sequence_breakers", "grammar", "logit_bias")
BODIES: dict[str, tuple[type[OpenAIBody], dict[str, Any]]] = {
    "/v1/chat/completions": (ChatCompletionBody, {"messages": [{"role": "user", "content": "x"}]}),
    "/v1/completions": (CompletionBody, {"prompt": "x"}),
    "/v1/responses": (ResponsesBody, {"input": "x"}),
    "/v1/embeddings": (EmbeddingsBody, {"input": "x"}),
}


@pytest.mark.parametrize("path", BODIES)
def test_no_field_of_a_wrong_type_is_a_fault(served: Served, path: str) -> None:
    kind, body = BODIES[path]
    fields = [field.alias or name for name, field in kind.model_fields.items()]
    with httpx.Client(base_url=served.service.base_url, trust_env=False, timeout=20) as client:
        for name in (*fields, *OF_EACH_KIND):
            for value in WRONG:
                response = client.post(path, content=json.dumps({"model": MODEL} | body | {name: value}))
                where = f"{name}={value!r}: {response.text[:200]}"
                assert response.status_code in (200, 400, 404), where
                if response.status_code != 200:
                    kinds = ("invalid_request_error", "not_found_error")
                    assert response.json()["error"]["type"] in kinds, where


@pytest.mark.parametrize("part", ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning"])
def test_no_part_of_a_message_of_a_wrong_type_is_a_fault(served: Served, part: str) -> None:
    for value in WRONG:
        message = {"role": "user", "content": "x", part: value}
        for path, field in (("/v1/chat/completions", "messages"), ("/v1/responses", "input")):
            response = served.post(path, {"model": MODEL, field: [message]})
            assert response.status_code in (200, 400), f"{path} {value!r}: {response.text[:200]}"


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        (
            "/v1/chat/completions",
            {"stream": "yes"},
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.stream of type bool",
        ),
        (
            "/v1/completions",
            {"n": []},
            "json: cannot unmarshal array into Go struct field CompletionRequest.n of type int",
        ),
        (
            "/v1/responses",
            {"text": {"format": "x"}},
            "json: cannot unmarshal string into Go struct field ResponsesRequest.text.format of type "
            "map[string]interface {}",
        ),
        ("/v1/embeddings", {"mirostat": "x"}, 'option "mirostat" must be of type integer'),
    ],
)
def test_a_refusal_names_the_field(served: Served, path: str, fields: dict[str, Any], text: str) -> None:
    response = served.post(path, {"model": MODEL} | BODIES[path][1] | fields)
    assert (response.status_code, response.json()["error"]["message"]) == (400, text)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"[]", "json: cannot unmarshal array into Go value of type api."),
        (b'{"model": "x"', "unexpected EOF"),
        (b'{"model": "\xff"}', "invalid character"),
        (b'{"temperature": NaN}', "invalid character"),
        (b'{"messages": ' + b"[" * 100_000, "exceeded max depth"),
        (b"\xef\xbb\xbf{}", "invalid character"),
    ],
)
def test_no_text_that_is_no_json_is_a_fault(served: Served, path: str, body: bytes, text: str) -> None:
    response = served.post(path, body)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith(text)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
def test_no_number_beyond_all_bounds_is_a_fault(served: Served, path: str, number: str) -> None:
    body = json.dumps({"model": MODEL} | BODIES[path][1])[:-1] + ', "temperature": ' + number + "}"
    response = served.post(path, body.encode())
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", BODIES)
def test_a_body_too_large_is_refused_before_it_is_read(served: Served, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {100 * 2**20}\r\n\r\n{{"
    answer = served.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"type":"invalid_request_error"' in answer
