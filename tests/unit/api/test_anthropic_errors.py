"""What the Anthropic-compatible routes refuse, and how they tell what went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from corral.runtime.errors import BadRequest, NotSupported, PromptTooLong, QueueFull, RunnerDied
from tests.fakes.served import Serve, Served
from tests.unit.api.messages_wire import BODY, IMAGE, WEATHER, events, thinker

BLOCK = "messages.0.content.0"


def _content(*blocks: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"model": ""}, "model is required"),
        ({"model": "a b"}, "invalid model name"),
        ({"messages": []}, "messages is required"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages.0.role: must be user, assistant or system"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content: must be a text or a list of blocks"),
        ({"system": 3}, "system: must be a text or a list of text blocks"),
        ({"system": [IMAGE]}, "system.0: must be a text block"),
        (_content("x"), f"{BLOCK}: must be an object with a type"),
        (_content({"type": "text", "text": 3}), f"{BLOCK}.text: must be a text"),
        (_content({"type": "image"}), f"{BLOCK}.source: must be an object"),
        (_content({"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x"}}),
         f"{BLOCK}.source: only data: an image of type 'url' is not fetched, send it as base64"),
        (_content({"type": "image", "source": {"type": "base64", "data": "?"}}), f"{BLOCK}.source.data: is no base64"),
        (_content({"type": "image", "source": {"type": "base64", "data": "é"}}), f"{BLOCK}.source.data: is no base64"),
        (_content({"type": "tool_use", "name": "x"}), "tool_use block missing required 'id' field"),
        (_content({"type": "tool_use", "id": "x"}), "tool_use block missing required 'name' field"),
        (_content({"type": "tool_use", "id": "x", "name": "y", "input": 3}), f"{BLOCK}.input: must be an object"),
        (_content({"type": "tool_result"}), "tool_result block missing required 'tool_use_id' field"),
        (_content({"type": "tool_result", "tool_use_id": "x", "content": 3}),
         f"{BLOCK}.content: must be a text or a list of blocks"),
        ({"tools": [{"input_schema": {}}]}, "tools: name is required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice 'any' needs tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}},
         "tool_choice names 'x', which is none of the tools"),
        ({"tool_choice": {"type": "x"}}, "tool_choice.type 'x' is not known: auto, any, tool or none"),
        ({"thinking": {"type": "x"}}, "thinking.type 'x' is not known: enabled, adaptive or disabled"),
        ({"output_config": {"effort": "x"}}, "output_config.effort 'x' is not known: low, medium, high, xhigh, max"),
    ],
)  # fmt: skip
def test_refusals(served: Served, fields: dict[str, Any], text: str) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        response = served.post(path, BODY | fields)
        assert (response.status_code, response.json()) == (
            400,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": text},
                "request_id": response.headers["request-id"],
            },
        )
    assert served.fake.asked == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"max_tokens": None}, "max_tokens is required and must be positive"),
        ({"max_tokens": 0}, "max_tokens is required and must be positive"),
        (
            {"max_tokens": "1"},
            "json: cannot unmarshal string into Go struct field MessagesRequest.max_tokens of type int",
        ),
        (
            {"output_format": {"type": "text"}},
            'output_config.format must be {"type": "json_schema", "schema": {...}}',
        ),
    ],
)
def test_refusals_of_messages_alone(served: Served, fields: dict[str, Any], text: str) -> None:
    response = served.post("/v1/messages", BODY | fields)
    assert (response.status_code, response.json()["error"]["message"]) == (400, text)


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"thinking": {"type": "enabled"}}])
def test_a_model_that_is_not_there(served: Served, fields: dict[str, Any]) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        response = served.post(path, BODY | {"model": "nope"} | fields)
        assert response.status_code == 404
        assert response.json()["error"] == {"type": "not_found_error", "message": "model 'nope' not found"}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotSupported('"x" does not support tools'), 400, "invalid_request_error"),
        (BadRequest("x"), 400, "invalid_request_error"),
        (PromptTooLong(9, 4), 400, "invalid_request_error"),
        (QueueFull(3), 503, "overloaded_error"),
        (RunnerDied("x"), 500, "api_error"),
    ],
)
def test_errors(serve: Serve, error: Exception, status: int, kind: str) -> None:
    served = serve(thinker(fail_with=error))
    for path, fields in (("messages", {}), ("messages", {"stream": True}), ("messages/count_tokens", {})):
        response = served.post(f"/v1/{path}", BODY | fields)
        assert response.status_code == status
        assert response.json()["error"] == {"type": kind, "message": str(error)}


def test_an_error_in_the_middle_of_a_stream(serve: Serve) -> None:
    served = serve(thinker(fail_with=RunnerDied("x"), fail_after=1))
    response = served.post("/v1/messages", BODY | {"stream": True})
    assert response.status_code == 200
    *_, last, error = events(response)
    assert last["delta"]["text"] == "t0 "
    assert error == {
        "type": "error",
        "error": {"type": "api_error", "message": str(RunnerDied("x"))},
        "request_id": response.headers["request-id"],
    }


def test_a_body_that_is_too_large(served: Served) -> None:
    response = served.post("/v1/messages", b'{"a":' + b"[" + b"1," * 2_100_000 + b"1]}")
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"
