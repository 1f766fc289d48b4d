"""The Anthropic-compatible routes, field by field, on a workbench from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from corral.runtime.verbs import (
    ChatRequest,
    DoneReason,
    LoadProgress,
    Message,
    PromptProgress,
    ToolCall,
    ToolChoice,
)
from tests.fakes.served import MODEL, Serve, Served, ServedFake
from tests.unit.api.messages_wire import BODY, HI, IMAGE, SCHEMA, TIME, WEATHER, caller, events, thinker

CALL = ToolCall("weather", {"city": "Bern"}, "toolu_1")


def asked(served: Served) -> ChatRequest:
    request = served.fake.asked[-1]
    assert isinstance(request, ChatRequest)
    return request


def post(served: Served, **fields: Any) -> dict[str, Any]:
    response = served.post("/v1/messages", BODY | fields)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def stream(served: Served, **fields: Any) -> list[dict[str, Any]]:
    response = served.post("/v1/messages", BODY | {"stream": True} | fields)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream"), response.text
    return events(response)


@pytest.fixture
def served(serve: Serve) -> Served:
    """A service on a workbench whose model calls tools."""
    return serve(caller())


# -- answers ------------------------------------------------------------------------------------------------------


def test_a_message(served: Served) -> None:
    response = served.post("/v1/messages", BODY)
    request_id = response.headers["X-Request-Id"]
    assert response.headers["request-id"] == f"req_{request_id}"
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {
        "id": f"msg_{request_id}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "t0 t1 t2 "}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 8,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 3,
        },
    }
    assert asked(served).messages == (Message("user", "Hi"),)
    assert asked(served).options == {"num_predict": 16}
    assert (asked(served).think, asked(served).progress, asked(served).format) == (None, False, None)


def test_a_stream(served: Served) -> None:
    response = served.post("/v1/messages", BODY | {"stream": True})
    request_id = response.headers["X-Request-Id"]
    assert response.headers["request-id"] == f"req_{request_id}"
    said = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("t0 ", "t1 ", "t2 ")
    ]
    assert events(response) == [
        {
            "type": "message_start",
            "message": {
                "id": f"msg_{request_id}",
                "type": "message",
                "role": "assistant",
                "model": MODEL,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *said,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 8,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens": 3,
            },
        },
        {"type": "message_stop"},
    ]


def test_a_stream_begins_with_what_the_prompt_has_and_shows_life_while_it_is_computed(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.progress = [LoadProgress(0.5), PromptProgress(4, 12, 4), PromptProgress(8, 12, 4), PromptProgress(12, 12, 4)]
    start, *rest = stream(serve(fake))
    assert start["message"]["usage"] == {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 0,
    }
    assert [one["type"] for one in rest[:4]] == ["ping", "ping", "content_block_start", "ping"]


def test_thoughts_come_first(serve: Serve) -> None:
    served = serve(thinker(thoughts=["hm ", "yes"]))
    reply = post(served, thinking={"type": "enabled", "budget_tokens": 1024})
    assert reply["content"] == [
        {"type": "thinking", "thinking": "hm yes", "signature": reply["id"]},
        {"type": "text", "text": "t0 t1 t2 "},
    ]
    assert reply["usage"]["output_tokens_details"] == {"thinking_tokens": 2}
    start, *rest = stream(served)
    delta = "content_block_delta"
    assert rest[:9] == [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "ping"},
        {"type": delta, "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm "}},
        {"type": delta, "index": 0, "delta": {"type": "thinking_delta", "thinking": "yes"}},
        {"type": delta, "index": 0, "delta": {"type": "signature_delta", "signature": start["message"]["id"]}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": delta, "index": 1, "delta": {"type": "text_delta", "text": "t0 "}},
        {"type": delta, "index": 1, "delta": {"type": "text_delta", "text": "t1 "}},
    ]


def test_calls_come_last(serve: Serve) -> None:
    served = serve(caller(words=["Let me see."], calls=[CALL, ToolCall("time")]))
    reply = post(served, tools=[WEATHER, TIME])
    own_id = reply["content"][2]["id"]
    assert own_id.startswith("toolu_")
    assert reply["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
        {"type": "tool_use", "id": own_id, "name": "time", "input": {}},
    ]
    assert (reply["stop_reason"], reply["stop_sequence"]) == ("tool_use", None)
    found = stream(served, tools=[WEATHER, TIME])
    assert [(one["type"], one.get("index")) for one in found] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("ping", None),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert found[5]["content_block"] == {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    assert found[6]["delta"] == {"type": "input_json_delta", "partial_json": '{"city":"Bern"}'}
    assert found[9]["delta"] == {"type": "input_json_delta", "partial_json": "{}"}
    assert found[11]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"done_reason": DoneReason.LENGTH}, ("max_tokens", None)),
        ({"stop": "END"}, ("stop_sequence", "END")),
        ({}, ("end_turn", None)),
    ],
)
def test_why_an_answer_ended(serve: Serve, fields: dict[str, Any], expected: tuple[str, str | None]) -> None:
    served = serve(thinker(**fields))
    reply = post(served, stop_sequences=["END"])
    assert (reply["stop_reason"], reply["stop_sequence"]) == expected
    delta = stream(served)[-2]["delta"]
    assert (delta["stop_reason"], delta["stop_sequence"]) == expected


def test_an_empty_answer(serve: Serve) -> None:
    served = serve(thinker(words=()))
    assert post(served)["content"] == []
    assert [one["type"] for one in stream(served)] == ["message_start", "message_delta", "message_stop"]


# -- requests -----------------------------------------------------------------------------------------------------


def test_options(served: Served) -> None:
    post(
        served,
        stop_sequences=["a", "b"],
        temperature=0,
        top_p=0.5,
        top_k=3,
        options={"num_ctx": 64, "temperature": 1, "seed": 5},
        keep_alive="1m",
        metadata={"user_id": "x"},
    )
    assert asked(served).options == {
        "num_ctx": 64,
        "seed": 5,
        "num_predict": 16,
        "stop": ["a", "b"],
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
    }
    assert asked(served).keep_alive_s == 60.0


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("Be brief.", "Be brief."),
        ([{"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "brief."}],
         "Be brief."),
        ([{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}, {"type": "text", "text": "You code."}],
         "You code."),
    ],
)  # fmt: skip
def test_system(served: Served, system: object, text: str) -> None:
    post(served, system=system)
    assert asked(served).messages == (Message("system", text), Message("user", "Hi"))


@pytest.mark.parametrize("system", ["", [], None])
def test_no_system(served: Served, system: object) -> None:
    post(served, system=system)
    assert asked(served).messages == (Message("user", "Hi"),)


def test_blocks(served: Served) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": [{"type": "text", "text": "sun"}, IMAGE, {"type": "text", "text": "ny"}],
    }
    reply = post(
        served,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "What "}, IMAGE, {"type": "text", "text": "is it?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I look."},
                    use,
                    use | {"id": "toolu_2", "name": "time", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
                    result,
                    {"type": "tool_result", "tool_use_id": "toolu_2"},
                ],
            },
        ],
    )
    assert "warnings" not in reply
    assert asked(served).messages == (
        Message("user", "What is it?", images=(b"picture",)),
        Message("assistant", "I look.", "hm", tool_calls=(CALL, ToolCall("time", {}, "toolu_2"))),
        Message("tool", "sunny", images=(b"picture",), tool_name="weather", tool_call_id="toolu_1"),
        Message("tool", "", tool_name="time", tool_call_id="toolu_2"),
        Message("user", "And now?"),
    )


@pytest.mark.parametrize(
    ("content", "text"), [("no file", "Error: no file"), ("error: 3", "error: 3"), (None, "Error"), ([], "Error")]
)
def test_results_that_are_errors(served: Served, content: object, text: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_9", "content": content, "is_error": True}
    post(served, messages=[{"role": "user", "content": [block]}])
    assert asked(served).messages == (Message("tool", text, tool_call_id="toolu_9"),)


def test_what_is_left_out_is_said(serve: Serve) -> None:
    served = serve(caller(warnings=("cut",)))
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "document", "source": {}}]}],
        "tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search"}],
    }
    warnings = [
        "blocks of type 'document' were left out",
        "tool 'web_search' is run by Anthropic's servers and was left out",
        "cut",
    ]
    assert post(served, **body)["warnings"] == warnings
    assert stream(served, **body)[-2]["warnings"] == warnings
    assert asked(served).messages == (Message("user", "Hi"),)
    assert [one["function"]["name"] for one in _functions(served)] == ["weather"]


def _functions(served: Served) -> list[Mapping[str, Any]]:
    return [dict(one) for one in asked(served).tools.functions]


def test_tools(served: Served) -> None:
    post(served, tools=[WEATHER | {"cache_control": {"type": "ephemeral"}}, TIME | {"type": "custom"}])
    assert _functions(served) == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells the weather", "parameters": SCHEMA},
        },
        {"type": "function", "function": {"name": "time", "description": "", "parameters": {"type": "object"}}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, (ToolChoice.AUTO, "", True)),
        ({"type": "auto"}, (ToolChoice.AUTO, "", True)),
        ({"type": "auto", "disable_parallel_tool_use": True}, (ToolChoice.AUTO, "", False)),
        ({"type": "any"}, (ToolChoice.REQUIRED, "", True)),
        ({"type": "tool", "name": "time", "disable_parallel_tool_use": True}, (ToolChoice.REQUIRED, "time", False)),
        ({"type": "none"}, (ToolChoice.NONE, "", True)),
    ],
)
def test_tool_choice(served: Served, choice: object, expected: tuple[ToolChoice, str, bool]) -> None:
    post(served, tools=[WEATHER, TIME], tool_choice=choice)
    tools = asked(served).tools
    assert (tools.choice, tools.only, tools.parallel) == expected


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}, "low"),
        ({"output_config": {"effort": "low"}, "thinking": {"type": "enabled"}}, True),
        ({"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}}, False),
    ],
)
def test_thinking(serve: Serve, fields: dict[str, Any], think: bool | str | None) -> None:
    served = serve(thinker())
    post(served, **fields)
    assert asked(served).think == think
    plain = serve()
    post(plain, **fields)
    assert asked(plain).think is (False if think is False else None)


@pytest.mark.parametrize("place", ["output_format", "output_config"])
def test_form(served: Served, place: str) -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    post(served, **{place: form if place == "output_format" else {"format": form}})
    assert asked(served).format == SCHEMA


def test_as_claude_code_asks(served: Served) -> None:
    assert served.request("HEAD", "/").status_code == 200
    headers = {"x-api-key": "x", "anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}
    reply = served.post("/v1/messages?beta=true", BODY, **headers)
    assert (reply.status_code, reply.json()["content"][0]["text"]) == (200, "t0 t1 t2 ")
    assert served.post("/v1/messages/count_tokens?beta=true", BODY, **headers).json() == {"input_tokens": 2}


def test_pages_may_send_the_headers(served: Served) -> None:
    reply = served.request("OPTIONS", "/v1/messages", Origin="http://localhost:3000")
    allowed = reply.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"x-api-key", "anthropic-version", "anthropic-beta"} <= set(allowed)


def test_the_key_may_come_as_anthropic_has_it(serve: Serve) -> None:
    served = serve(api_key="secret")
    assert served.post("/v1/messages", BODY, **{"x-api-key": "secret"}).status_code == 200
    refused = served.post("/v1/messages", BODY, **{"x-api-key": "wrong"})
    assert refused.status_code == 401
    assert refused.json()["error"] == {"type": "authentication_error", "message": "unauthorized"}


def test_counting(served: Served) -> None:
    body = {"model": MODEL, "messages": HI, "system": "Be brief.", "tools": [WEATHER], "options": {"num_ctx": 64}}
    assert served.post("/v1/messages/count_tokens", body).json() == {"input_tokens": 11}
    assert asked(served).messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert [one["function"]["name"] for one in _functions(served)] == ["weather"]
    assert asked(served).options == {"num_ctx": 64}
