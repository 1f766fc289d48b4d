"""Several answers to one request, what unknown fields lead to, and tools, on a workbench from memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from corral.api.openai.choices import side_by_side
from corral.api.openai.completion import Completion
from corral.runtime.errors import RunnerDied
from corral.runtime.verbs import ChatRequest, Chunk, DoneReason, Message, ToolCall, ToolChoice, Tools
from tests.fakes.served import MODEL, Serve, Served, ServedFake
from tests.unit.api.openai_events import CHAT, HI, TIME, WEATHER, asked, events

CALLS = (ToolCall("weather", {"place": "Köln"}), ToolCall("time", {}, "call_7"))
ROME: dict[str, Any] = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place": "Rome"}'},
}


def test_several_answers(served: Served) -> None:
    reply = served.post(CHAT, HI | {"n": 3, "seed": 5}).json()
    assert [(one["index"], one["message"]["content"]) for one in reply["choices"]] == [
        (index, "t0 t1 t2 ") for index in range(3)
    ]
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (12, 9)
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    verbs = [one for one in served.fake.asked if isinstance(one, ChatRequest)]
    assert [verb.options["seed"] for verb in verbs] == [5, 6, 7]
    ids = [verb.caller.request_id for verb in verbs if verb.caller]
    assert ids == [ids[0], f"{ids[0]}-1", f"{ids[0]}-2"]


def test_several_answers_in_one_stream(served: Served) -> None:
    body = HI | {"n": 2, "stream": True, "stream_options": {"include_usage": True}, "typo": 1}
    *chunks, usage, end = events(served.post(CHAT, body).text)
    for index in (0, 1):
        own = [one["choices"][0] for one in chunks if one["choices"][0]["index"] == index]
        assert [one["delta"] for one in own] == [
            {"role": "assistant", "content": "t0 "},
            {"content": "t1 "},
            {"content": "t2 "},
            {},
        ]
        assert [one["finish_reason"] for one in own] == [None, None, None, "stop"]
    assert (usage["choices"], usage["usage"]["completion_tokens"], end) == ([], 6, "[DONE]")
    assert sum("warnings" in one for one in chunks) == 1


async def count(limit: int, closed: list[int], *, fails: bool = False) -> AsyncGenerator[Chunk, None]:
    try:
        for number in range(limit):
            yield Chunk(text=str(number))
            await asyncio.sleep(0)
        if fails:
            raise RunnerDied
    finally:
        closed.append(limit)


async def test_the_first_error_ends_all_answers() -> None:
    closed: list[int] = []
    told = []

    async def read() -> None:
        async for index, chunk in side_by_side([count(100, closed), count(2, closed, fails=True)]):
            told.append((index, chunk.text))

    with pytest.raises(RunnerDied):
        await read()
    assert {(0, "0"), (1, "0"), (1, "1")} <= set(told)
    assert sorted(closed) == [2, 100]


async def test_answers_nobody_waits_for_are_closed() -> None:
    closed: list[int] = []
    both = side_by_side([count(100, closed), count(200, closed)])
    await anext(both)
    await both.aclose()
    assert sorted(closed) == [100, 200]


def test_a_reader_that_leaves_stops_every_answer(serve: Serve, until: Any) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.gate = asyncio.Semaphore(0)
    served = serve(fake)
    with served.connect() as connection:
        body = b'{"model":"smollm2:135m","stream":true,"n":3,"messages":[{"role":"user","content":"x"}]}'
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        until(lambda: len(fake.asked) == 3)
    until(lambda: fake.closed == 3)


def test_what_is_not_known_is_told(served: Served) -> None:
    body = HI | {"guided_regex": "x", "user": "me", "store": True, "verbosity": None, "MIN_P": 0.1, "top_k": 7}
    reply = served.post(CHAT, body).json()
    assert reply["warnings"] == ["field 'guided_regex' is not known and was ignored"]
    assert (asked(served).options["min_p"], asked(served).options["top_k"]) == (0.1, 7)
    *_, finish, _end = events(served.post(CHAT, body | {"stream": True}).text)
    assert finish["warnings"] == reply["warnings"]
    assert "warnings" not in served.post(CHAT, HI).json()


def test_tool_calls(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_call(MODEL)
    fake.calls, fake.words = CALLS, ()
    reply = serve(fake).post(CHAT, HI | {"tools": [WEATHER, TIME]}).json()
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    first, second = choice["message"].pop("tool_calls")
    assert choice["message"] == {"role": "assistant", "content": ""}
    assert first.pop("id").startswith("call_")
    assert first == {"index": 0, "type": "function", "function": {"name": "weather", "arguments": '{"place":"Köln"}'}}
    assert second == {
        **{"index": 1, "id": "call_7", "type": "function"},
        "function": {"name": "time", "arguments": "{}"},
    }


def test_tool_calls_in_a_stream(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_call(MODEL)
    fake.calls, fake.words = CALLS, ()
    served = serve(fake)
    first, second, finish, _end = events(served.post(CHAT, HI | {"tools": [WEATHER], "stream": True}).text)
    delta = first["choices"][0]["delta"]
    assert (delta["role"], delta["content"]) == ("assistant", "")
    assert delta["tool_calls"][0]["id"].startswith("call_")
    assert second["choices"][0]["delta"] == {
        "content": "",
        "tool_calls": [
            {"index": 1, "id": "call_7", "type": "function", "function": {"name": "time", "arguments": "{}"}}
        ],
    }
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    fake.words = ("a",)
    text, *_ = events(served.post(CHAT, HI | {"tools": [WEATHER], "stream": True}).text)
    assert text["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    fake.done_reason = DoneReason.LENGTH
    cut_off = served.post(CHAT, HI | {"tools": [WEATHER]}).json()
    assert cut_off["choices"][0]["finish_reason"] == "length"


NAMED = {"type": "function", "function": {"name": "time"}}


@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        ({}, Tools()),
        ({"tools": [], "tool_choice": "auto"}, Tools()),
        ({"tools": [TIME]}, Tools((TIME,))),
        ({"tools": [{"function": {"name": "time"}}]}, Tools((TIME,))),
        ({"tools": [TIME], "tool_choice": "none"}, Tools((TIME,), ToolChoice.NONE)),
        ({"tools": [TIME], "tool_choice": "required"}, Tools((TIME,), ToolChoice.REQUIRED)),
        ({"tools": [WEATHER, TIME], "tool_choice": NAMED}, Tools((WEATHER, TIME), ToolChoice.REQUIRED, "time")),
        ({"tools": [TIME], "parallel_tool_calls": False}, Tools((TIME,), parallel=False)),
        (
            {
                "tools": [WEATHER, TIME],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
            },
            Tools((TIME,), ToolChoice.REQUIRED),
        ),
    ],
)
def test_what_the_model_may_call(served: Served, fields: dict[str, Any], tools: Tools) -> None:
    served.fake.can_call(MODEL)
    assert served.post(CHAT, HI | fields).status_code == 200
    assert asked(served).tools == tools


def test_calls_and_results_come_along(served: Served) -> None:
    said = [
        *HI["messages"],
        {"role": "assistant", "content": None, "tool_calls": [ROME], "reasoning": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "a", "tool_calls": [ROME | {"id": "c2"}]},
        {"role": "tool", "tool_call_id": "c2", "name": "other", "content": [{"type": "text", "text": "sun"}]},
        {"role": "tool", "tool_call_id": "c3", "content": "?"},
        {"role": "assistant", "content": [], "tool_calls": [ROME]},
    ]
    assert served.post(CHAT, HI | {"messages": said}).status_code == 200
    call = ToolCall("weather", {"place": "Rome"}, "c1")
    assert asked(served).messages[1:] == (
        Message("assistant", "", "hm", tool_calls=(call,)),
        Message("tool", "rain", tool_name="weather", tool_call_id="c1"),
        Message("assistant", "a", tool_calls=(ToolCall("weather", {"place": "Rome"}, "c2"),)),
        Message("tool", "sun", tool_name="other", tool_call_id="c2"),
        Message("tool", "?", tool_call_id="c3"),
        Message("assistant", tool_calls=(call,)),
    )


def calling(**function: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "function": function}]}
    return {"messages": [message]}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tools": [5]}, "tools.0 must be an object"),
        ({"tools": [TIME, {}]}, "tools.1.function must be an object"),
        ({"tools": [{"type": "custom"}]}, "tools.0.type 'custom' is not supported: only 'function' is"),
        ({"tools": [{"function": {}}]}, "tools.0.function.name must be a text"),
        ({"tools": [{"function": {"name": "a", "description": 5}}]}, "tools.0.function.description must be a text"),
        (
            {"tools": [{"function": {"name": "a", "parameters": []}}], "tool_choice": "auto"},
            None,
        ),
        (
            {"tools": [{"function": {"name": "a", "parameters": [1]}}]},
            "tools.0.function.parameters must be a JSON Schema object",
        ),
        ({"tools": [TIME] * 1025}, "tools: 1024 at most"),
        ({"tool_choice": "required"}, "tool_choice 'required' needs tools"),
        ({"tool_choice": "some"}, "tool_choice 'some' is not known: none, auto, required or one function"),
        ({"tool_choice": 5}, "tool_choice must be none, auto, required or one function by its name"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice 'time' is not among the tools"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools must have a mode and tools"),
        ({"functions": [{}]}, "functions and function_call are not supported: use tools and tool_choice"),
        (calling(name="a", arguments="{"), "invalid tool call arguments"),
        (calling(name="a", arguments="[]"), "invalid tool call arguments"),
        (calling(name="a", arguments={}), None),
        (calling(name="a", arguments={"a": 1}), "invalid tool call arguments"),
        (calling(arguments="{}"), "invalid tool call: no name"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "invalid tool call"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "invalid tool call"),
    ],
)
def test_tools_that_are_none(served: Served, fields: dict[str, Any], text: str | None) -> None:
    served.fake.can_call(MODEL)
    response = served.post(CHAT, HI | fields)
    if text is None:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["error"]["message"]) == (400, text)


def test_a_prompt_that_is_only_rendered(served: Served) -> None:
    served.post(CHAT, HI | {"_debug_render_only": True})
    assert asked(served).render_only
    rendered = Chunk(rendered="<user>hi", done_reason=DoneReason.STOP)
    info = {"rendered_template": "<user>hi"}
    assert Completion("id", MODEL, 0).whole([rendered])["_debug_info"] == info
    *_, finish = Completion("id", MODEL, 0).events(rendered, usage=False)
    assert finish["_debug_info"] == info


def test_a_model_that_cannot_call(served: Served) -> None:
    response = served.post(CHAT, HI | {"tools": [TIME]})
    text = "registry.ollama.ai/library/smollm2:135m does not support tools"
    assert (response.status_code, response.json()["error"]["message"]) == (400, text)
