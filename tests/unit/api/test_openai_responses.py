"""`/v1/responses` event by event and item by item, on a workbench from memory."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from corral.runtime.errors import PromptTooLong, RunnerDied
from corral.runtime.verbs import DoneReason, Message, ToolCall, ToolChoice, Tools
from tests.fakes.served import MODEL, Serve, Served, ServedFake
from tests.unit.api.openai_events import TIME, WEATHER, asked, named_events

PATH = "/v1/responses"
HI: dict[str, Any] = {"model": MODEL, "input": "hi"}
FLAT = {"type": "function", "strict": True, **WEATHER["function"]}
PART = {"type": "output_text", "text": "t0 t1 t2 ", "annotations": [], "logprobs": []}


def thinking() -> ServedFake:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    fake.thoughts = ("a ", "b")
    return fake


def test_whole_answer(served: Served) -> None:
    reply = served.post(PATH, HI | {"instructions": "Be brief.", "max_output_tokens": 9, "temperature": 0}).json()
    (item,) = reply.pop("output")
    assert item.pop("id").startswith("msg_")
    assert item == {"type": "message", "status": "completed", "role": "assistant", "content": [PART]}
    assert reply.pop("id").startswith("resp_")
    assert 0 <= reply.pop("completed_at") - reply.pop("created_at") < 60
    assert reply == {
        "object": "response",
        "status": "completed",
        "incomplete_details": None,
        "model": MODEL,
        "previous_response_id": None,
        "instructions": "Be brief.",
        "error": None,
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": 0,
        "reasoning": {"effort": None, "summary": None},
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
        "max_output_tokens": 9,
        "max_tool_calls": None,
        "store": False,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }
    assert asked(served).messages == (Message("system", "Be brief."), Message("user", "hi"))
    assert asked(served).options == {"temperature": 0, "top_p": 1.0, "num_predict": 9}


def test_events_of_a_text(served: Served) -> None:
    response = served.post(PATH, HI | {"stream": True})
    assert response.headers["Content-Type"] == "text/event-stream"
    told = named_events(response.text)
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    created, started, added, part, *deltas, text, part_done, item_done, completed = told
    assert (created["type"], started["type"]) == ("response.created", "response.in_progress")
    assert created["response"]["status"] == started["response"]["status"] == "in_progress"
    assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
    item_id = added["item"]["id"]
    assert added == {
        "type": "response.output_item.added",
        "sequence_number": 2,
        "output_index": 0,
        "item": {"id": item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []},
    }
    place = {"item_id": item_id, "output_index": 0, "content_index": 0}
    assert part == {
        "type": "response.content_part.added",
        "sequence_number": 3,
        **place,
        "part": PART | {"text": ""},
    }
    assert deltas == [
        {"type": "response.output_text.delta", "sequence_number": 4 + at, **place, "delta": word, "logprobs": []}
        for at, word in enumerate(("t0 ", "t1 ", "t2 "))
    ]
    assert text == {
        "type": "response.output_text.done",
        "sequence_number": 7,
        **place,
        "text": "t0 t1 t2 ",
        "logprobs": [],
    }
    assert part_done == {"type": "response.content_part.done", "sequence_number": 8, **place, "part": PART}
    item = {"id": item_id, "type": "message", "status": "completed", "role": "assistant", "content": [PART]}
    assert item_done == {"type": "response.output_item.done", "sequence_number": 9, "output_index": 0, "item": item}
    assert completed["type"] == "response.completed"
    assert completed["response"]["output"] == [item]
    assert completed["response"]["usage"]["total_tokens"] == 15
    assert completed["response"]["id"] == created["response"]["id"]


def test_events_of_thoughts_and_calls(serve: Serve) -> None:
    fake = thinking()
    fake.models[MODEL] = replace(fake.models[MODEL], capabilities=("completion", "thinking", "tools"))
    fake.words = ("t ",)
    fake.calls = (ToolCall("weather", {"place": "Köln"}), ToolCall("time", {}, "call_7"))
    told = named_events(serve(fake).post(PATH, HI | {"stream": True, "tools": [FLAT]}).text)
    call = [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert [one["type"] for one in told] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        *call,
        *call,
        "response.completed",
    ]
    reasoning, message, first, second = told[-1]["response"]["output"]
    assert reasoning.pop("id").startswith("rs_")
    assert reasoning == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "a b"}],
        "encrypted_content": "a b",
    }
    assert message["content"][0]["text"] == "t "
    assert (first.pop("id")[:3], first.pop("call_id")[:5]) == ("fc_", "call_")
    assert first == {
        "type": "function_call",
        "status": "completed",
        "name": "weather",
        "arguments": '{"place":"Köln"}',
    }
    assert (second["call_id"], second["name"], second["arguments"]) == ("call_7", "time", "{}")
    assert [one["output_index"] for one in told if one["type"] == "response.output_item.added"] == [0, 1, 2, 3]
    assert told[-1]["response"]["tools"] == [FLAT]


def test_an_answer_without_a_word_is_an_empty_message(serve: Serve) -> None:
    fake = thinking()
    fake.models[MODEL] = replace(fake.models[MODEL], capabilities=("completion", "thinking", "tools"))
    fake.words = ()
    reasoning, message = serve(fake).post(PATH, HI).json()["output"]
    assert (reasoning["type"], message["content"][0]["text"]) == ("reasoning", "")
    fake.calls = (ToolCall("time"),)
    kinds = [one["type"] for one in serve(fake).post(PATH, HI | {"tools": [FLAT]}).json()["output"]]
    assert kinds == ["reasoning", "function_call"]


def test_ends(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_call(MODEL)
    fake.done_reason, fake.warnings = DoneReason.LENGTH, ("cut",)
    served = serve(fake)
    tools = [FLAT, {"type": "web_search"}, {"type": "web_search"}]
    reply = served.post(PATH, HI | {"typo": 1, "tools": tools}).json()
    assert (reply["status"], reply["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert reply["warnings"] == [
        "field 'typo' is not known and was ignored",
        "cut",
        "no tool of type 'web_search' is here: it was left out",
    ]
    assert asked(served).tools == Tools(({"type": "function", "function": {**WEATHER["function"], "strict": True}},))
    assert named_events(served.post(PATH, HI | {"stream": True}).text)[-1]["type"] == "response.incomplete"
    fake.fail_with, fake.fail_after = RunnerDied(), 1
    *_, delta, failed = named_events(served.post(PATH, HI | {"stream": True}).text)
    assert delta["type"] == "response.output_text.delta"
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", delta["sequence_number"] + 1)
    assert (failed["response"]["status"], failed["response"]["error"]) == (
        "failed",
        {"code": "server_error", "message": str(RunnerDied())},
    )
    fake.fail_with, fake.fail_after = PromptTooLong(9, 8), 0
    assert served.post(PATH, HI | {"stream": True, "truncation": "disabled"}).status_code == 400
    assert asked(served).truncate is False


def test_logprobs(served: Served) -> None:
    (item,) = served.post(PATH, HI | {"include": ["message.output_text.logprobs"], "top_logprobs": 1}).json()["output"]
    told = item["content"][0]["logprobs"]
    assert [(one["token"], len(one["top_logprobs"])) for one in told] == [("t0 ", 1), ("t1 ", 1), ("t2 ", 1)]
    assert (asked(served).logprobs, asked(served).top_logprobs) == (True, 1)


def test_tools_of_a_namespace_and_the_choice_of_one(served: Served) -> None:
    served.fake.can_call(MODEL)
    group = {"type": "namespace", "name": "clock", "tools": [{"type": "function", "name": "time"}]}
    body = {"tools": [FLAT, group], "tool_choice": {"type": "function", "name": "clock.time"}}
    assert served.post(PATH, HI | body).status_code == 200
    tools = asked(served).tools
    assert tools.functions[1] == {"type": "function", "function": TIME["function"] | {"name": "clock.time"}}
    assert (tools.choice, tools.only) == (ToolChoice.REQUIRED, "clock.time")


def test_format_and_effort(serve: Serve) -> None:
    served = serve(thinking())
    form = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    reply = served.post(
        PATH, HI | {"text": {"format": form}, "reasoning": {"effort": "high", "summary": "auto"}}
    ).json()
    assert (asked(served).format, asked(served).think) == ({"type": "object"}, "high")
    assert (reply["text"], reply["reasoning"]) == ({"format": form}, {"effort": "high", "summary": "auto"})


def call(number: int) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"c{number}", "name": "time", "arguments": "{}"}


def test_items_become_messages(served: Served) -> None:
    items = [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "u"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "r"},
        call(1),
        call(2),
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "wait"}]},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]},
        {"role": "assistant", "content": "a"},
        call(3),
        {"type": "web_search_call"},
    ]
    assert served.post(PATH, HI | {"input": items}).status_code == 200
    one, two, three = (ToolCall("time", {}, f"c{number}") for number in (1, 2, 3))
    assert asked(served).messages == (
        Message("developer", "d"),
        Message("user", "u"),
        Message("assistant", "wait", "r", tool_calls=(one, two)),
        Message("tool", "1", tool_name="time", tool_call_id="c1"),
        Message("tool", "2", tool_name="time", tool_call_id="c2"),
        Message("assistant", "a", "s", tool_calls=(three,)),
    )


STATELESS = "is not supported: nothing is kept here, send the whole conversation"


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"input": None}, 400, "input must be a string or array of items"),
        ({"input": {}}, 400, "input must be a string or array of items"),
        ({"input": []}, 400, "input is required"),
        ({"input": ["x"]}, 400, "input items must be objects"),
        ({"input": [{}]}, 400, "input item missing required 'type' field"),
        ({"input": [{"type": "x"}]}, 400, 'unknown input item type: "x"'),
        ({"input": [{"type": "message"}]}, 400, "a message needs a role"),
        ({"input": [{"role": "user"}]}, 400, "invalid message content type: <nil>"),
        ({"input": [{"role": "user", "content": ["x"]}]}, 400, "content parts must be objects"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            400,
            "file inputs are not currently supported",
        ),
        ({"input": [{"type": "function_call", "name": "a", "arguments": "{"}]}, 400, "invalid tool call arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, 400, "function_call_output needs a call_id"),
        ({"tools": ["x"]}, 400, "tools must be objects"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, 400, "tool_choice 'required' needs tools"),
        ({"text": {"format": {"type": "json_schema"}}}, 400, "text.format.schema must be a JSON Schema object"),
        ({"previous_response_id": "resp_1"}, 400, f"previous_response_id {STATELESS}"),
        ({"conversation": "x"}, 400, f"conversation {STATELESS}"),
        ({"background": True}, 400, f"background {STATELESS}"),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ({"min_p": "x"}, 400, 'option "min_p" must be of type float32'),
    ],
)
def test_refusals(served: Served, fields: dict[str, Any], status: int, text: str) -> None:
    response = served.post(PATH, HI | fields)
    assert (response.status_code, response.json()["error"]["message"]) == (status, text)
