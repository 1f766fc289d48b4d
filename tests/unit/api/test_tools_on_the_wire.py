"""Tools and their calls on `/api/chat`, and through our own client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.api.client import HttpClient
from corral.runtime.conversation import Message, ToolCall, ToolChoice, Tools
from corral.runtime.verbs import ChatRequest, Chunk
from tests.fakes.served import MODEL, Served

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ARGUMENTS = {"city": "Oslo", "at": {"b": 1, "a": [None]}}
CALLS = (
    ToolCall("weather", ARGUMENTS, "call_a1"),
    ToolCall("weather", {}, "call_b2"),
)
SPOKEN = [
    {"id": "call_a1", "function": {"index": 0, "name": "weather", "arguments": ARGUMENTS}},
    {"id": "call_b2", "function": {"index": 1, "name": "weather", "arguments": {}}},
]


@pytest.fixture
def calling(served: Served) -> Served:
    served.fake.can_call(MODEL)
    served.fake.calls = CALLS
    return served


def asked(served: Served) -> ChatRequest:
    request = served.fake.asked[-1]
    assert isinstance(request, ChatRequest)
    return request


def test_calls_come_one_by_one_before_the_end(calling: Served) -> None:
    *parts, last = calling.lines("/api/chat", {"model": MODEL, "messages": HI, "tools": [TOOL]})
    told = [part["message"] for part in parts if "tool_calls" in part["message"]]
    assert told == [{"role": "assistant", "content": "", "tool_calls": [call]} for call in SPOKEN]
    assert list(told[0]["tool_calls"][0]["function"]["arguments"]["at"]) == ["b", "a"]  # the model's own order
    assert (last["done"], last["done_reason"], last["message"]) == (True, "stop", {"role": "assistant", "content": ""})


def test_a_whole_answer_has_all_calls(calling: Served) -> None:
    reply = calling.post("/api/chat", {"model": MODEL, "messages": HI, "tools": [TOOL], "stream": False}).json()
    assert reply["message"] == {"role": "assistant", "content": "t0 t1 t2 ", "tool_calls": SPOKEN}
    plain = calling.post("/api/chat", {"model": MODEL, "messages": HI, "stream": False}).json()
    assert "tool_calls" not in plain["message"]


def test_a_conversation_about_calls(calling: Served) -> None:
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": SPOKEN},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "call_a1"},
    ]
    calling.lines("/api/chat", {"model": MODEL, "messages": messages})
    assert asked(calling).messages[1:] == (
        Message("assistant", tool_calls=CALLS),
        Message("tool", "rain", tool_name="weather", tool_call_id="call_a1"),
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, Tools((TOOL,))),
        ({"tool_choice": "auto"}, Tools((TOOL,))),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, Tools((TOOL,), parallel=False)),
        ({"tool_choice": "none"}, Tools((TOOL,), ToolChoice.NONE)),
        ({"tool_choice": "required"}, Tools((TOOL,), ToolChoice.REQUIRED)),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
            Tools((TOOL,), ToolChoice.REQUIRED, "weather", parallel=False),
        ),
    ],
)
def test_whether_tools_are_to_be_called(calling: Served, fields: dict[str, Any], wanted: Tools) -> None:
    calling.lines("/api/chat", {"model": MODEL, "messages": HI, "tools": [TOOL]} | fields)
    assert asked(calling).tools == wanted


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"tool_choice": "some"},
            'tool_choice must be "none", "auto", "required" or {"type": "function", "function": {"name": …}}',
        ),
        ({"tool_choice": {}}, 'tool_choice must be "none", "auto", "required" or '),
        ({"tools": ["x"]}, "json: cannot unmarshal string into Go struct field ChatRequest.tools of type "),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "json: cannot unmarshal string into Go struct field "
            "ChatRequest.messages.tool_calls.function.arguments of type map[string]interface {}",
        ),
    ],
)
def test_what_is_no_tool_is_refused(calling: Served, fields: dict[str, Any], text: str) -> None:
    reply = calling.post("/api/chat", {"model": MODEL, "messages": HI, "tools": [TOOL]} | fields)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(text)
    assert calling.fake.asked == []


def test_our_client_says_and_hears_all_of_it(calling: Served) -> None:
    request = ChatRequest(
        MODEL,
        (
            Message("assistant", "so", tool_calls=CALLS),
            Message("tool", "rain", tool_name="weather", tool_call_id="call_a1"),
        ),
        tools=Tools((TOOL,), ToolChoice.REQUIRED, "weather", parallel=False),
    )

    async def chat(asked: ChatRequest) -> list[Chunk]:
        client = HttpClient(calling.service.base_url)
        try:
            return [chunk async for chunk in client.chat(asked)]
        finally:
            await client.close()

    chunks = asyncio.run(chat(request))
    assert tuple(call for chunk in chunks for call in chunk.tool_calls) == CALLS
    assert (asked(calling).messages, asked(calling).tools) == (request.messages, request.tools)
    for tools in (Tools(), Tools((TOOL,)), Tools((TOOL,), ToolChoice.NONE), Tools((TOOL,), ToolChoice.REQUIRED)):
        asyncio.run(chat(ChatRequest(MODEL, (Message("user", "hi"),), tools=tools)))
        assert asked(calling).tools == tools
