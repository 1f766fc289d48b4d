from __future__ import annotations

from typing import Any

import pytest

from corral.api.openai.completion import Completion
from corral.runtime.errors import QueueFull, RunnerDied
from corral.runtime.verbs import Chunk, Logprob, Message
from tests.fakes.served import MODEL, Serve, Served, ServedFake
from tests.unit.api.openai_events import CHAT, HI, asked, events


def test_whole_answer(served: Served) -> None:
    response = served.post(CHAT, HI)
    assert response.headers["Content-Type"] == "application/json"
    reply = response.json()
    assert (reply["object"], reply["model"], reply["system_fingerprint"]) == ("chat.completion", MODEL, "fp_ollama")
    assert reply["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "t0 t1 t2 "}, "finish_reason": "stop"}
    ]
    assert reply["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_usage_tells_of_tokens_guessed_ahead(served: Served) -> None:
    served.fake.drafted = 5
    usage = served.post(CHAT, HI).json()["usage"]
    assert usage["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 4,
        "rejected_prediction_tokens": 1,
    }


def test_stream(served: Served) -> None:
    response = served.post(CHAT, HI | {"stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["Content-Type"] == "text/event-stream"
    *chunks, end = events(response.text)
    assert end == "[DONE]"
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert {(chunk["object"], chunk["created"]) for chunk in chunks} == {
        ("chat.completion.chunk", chunks[0]["created"])
    }
    *texts, finish, usage = chunks
    assert [chunk["choices"][0]["delta"] for chunk in texts] == [
        {"role": "assistant", "content": "t0 "},
        {"content": "t1 "},
        {"content": "t2 "},
    ]
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 15)
    assert "usage" not in finish


def test_thoughts_are_reasoning(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    fake.thoughts = ("a ", "b")
    served = serve(fake)
    whole = served.post(CHAT, HI).json()
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "t0 t1 t2 ", "reasoning": "a b"}
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    *said, _finish, _end = events(served.post(CHAT, HI | {"stream": True, "logprobs": True}).text)
    assert [one["choices"][0]["delta"] for one in said] == [
        {"role": "assistant", "content": "", "reasoning": "a "},
        {"content": "", "reasoning": "b"},
        *({"content": text} for text in ("t0 ", "t1 ", "t2 ")),
    ]
    assert ["logprobs" in one["choices"][0] for one in said] == [False, False, True, True, True]


def test_thoughts_and_text_in_one_piece_are_told_one_after_the_other() -> None:
    logprobs = (Logprob("a", -1.0, b"a"),)
    both = Chunk(thinking="a", text="b", logprobs=logprobs)
    first, second = Completion("id", MODEL, 0).events(both, usage=False)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "reasoning": "a"}
    assert second["choices"][0]["delta"] == {"content": "b"}
    assert [len(one["choices"][0].get("logprobs", {}).get("content", ())) for one in (first, second)] == [0, 1]
    (alone,) = Completion("id", MODEL, 0).events(Chunk(thinking="a", logprobs=logprobs), usage=False)
    assert len(alone["choices"][0]["logprobs"]["content"]) == 1


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"think": False}, False),
        ({"think": ""}, None),
        ({"think": "low", "reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning": {"effort": "xhigh"}, "reasoning_effort": "none"}, "max"),
    ],
)
def test_how_hard_to_think(serve: Serve, fields: dict[str, Any], think: object) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    served = serve(fake)
    served.post(CHAT, HI | fields)
    assert asked(served).think == think


def test_old_thoughts_come_along(served: Served) -> None:
    old = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    served.post(CHAT, {"model": MODEL, "messages": [old | {"reasoning": "r"}, *HI["messages"]]})
    assert asked(served).messages[:2] == (Message("assistant", "a", "r"), Message("assistant", "b"))


def test_a_stream_without_usage_and_without_words(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.words = ()
    first, finish, end = events(serve(fake).post(CHAT, HI | {"stream": True}).text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert end == "[DONE]"


def test_defaults_win_over_the_models_own(served: Served) -> None:
    served.post(CHAT, HI)
    assert asked(served).options == {"temperature": 1.0, "top_p": 1.0}
    assert asked(served).keep_alive_s is None


def test_options(served: Served) -> None:
    served.post(
        CHAT,
        HI
        | {
            "temperature": 0,
            "top_p": 0.5,
            "seed": 7,
            "max_tokens": 5,
            "frequency_penalty": 0.25,
            "presence_penalty": -1,
            "stop": ["a", 1, "b"],
            "options": {"top_k": 3, "temperature": 0.9},
            "num_ctx": 1024,
            "keep_alive": "1m",
            "user": "someone",
            "logit_bias": {"5": -100},
            **{"n": 1, "tools": [], "response_format": {"type": "text"}, "reasoning_effort": "none", "think": False},
        },
    )
    assert asked(served).options == {
        **{"temperature": 0, "top_p": 0.5, "seed": 7, "num_predict": 5, "frequency_penalty": 0.25},
        **{"presence_penalty": -1, "stop": ["a", "b"], "top_k": 3, "num_ctx": 1024, "logit_bias": {"5": -100}},
    }
    assert asked(served).keep_alive_s == 60.0
    served.post(CHAT, HI | {"max_completion_tokens": 9, "max_tokens": 5, "stop": "x"})
    assert asked(served).options["num_predict"] == 9
    assert asked(served).options["stop"] == ["x"]


def test_parts_become_messages(served: Served) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    served.post(
        CHAT, {"model": MODEL, "messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": parts}]}
    )
    assert asked(served).messages == (Message("developer", "d"), Message("user", "a"), Message("user", "b"))


def message(content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content, **fields}]}


SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {}}}


def test_response_formats_reach_the_workbench(served: Served) -> None:
    for given, wanted in (
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}, SCHEMA),
    ):
        served.post(CHAT, HI | {"response_format": given})
        assert asked(served).format == wanted


NO_URLS = "image URLs are not currently supported, please use base64 encoded data instead"

REFUSED = [
    ({"messages": []}, 400, "[] is too short - 'messages'"),
    ({"model": ""}, 400, "model is required"),
    ({"model": "a b"}, 400, "invalid model name"),
    ({"model": "nope"}, 404, "model 'nope' not found"),
    ({"model": "nope", "n": 2}, 404, "model 'nope' not found"),
    ({"model": "nope", "n": 0}, 404, "model 'nope' not found"),
    ({"n": 0}, 400, "n must be between 1 and 128"),
    ({"n": 129}, 400, "n must be between 1 and 128"),
    ({"modalities": ["text", "audio"]}, 400, "modalities other than text are not supported"),
    ({"seed": "x"}, 400, 'option "seed" must be of type integer'),
    (
        {"response_format": {"type": "xml"}},
        400,
        "response_format of type 'xml' is not known: text, json_object or json_schema",
    ),
    *(
        ({"response_format": wrong}, 400, "response_format.json_schema.schema must be a JSON Schema object")
        for wrong in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": "x"}})
    ),
    ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({"think": True}, 400, f'"{MODEL}" does not support thinking'),
    ({"reasoning_effort": "high"}, 400, f'"{MODEL}" does not support thinking'),
    ({"reasoning": {"effort": "low"}, "reasoning_effort": "none"}, 400, f'"{MODEL}" does not support thinking'),
    (
        {"reasoning_effort": "x"},
        400,
        'invalid reasoning value: "x" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none")',
    ),
    (message(None), 400, "invalid message content type: <nil>"),
    (message(5), 400, "invalid message format"),
    (message([]), 400, "invalid message format"),
    (message([{"type": "text"}]), 400, "invalid message format"),
    (message(["x"]), 400, "invalid message format"),
    (message([{"type": "image_url", "image_url": "http://x"}]), 400, NO_URLS),
    (message([{"type": "input_audio"}]), 400, "audio input is not supported by this server yet"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "text"), REFUSED)
def test_refusals(served: Served, fields: dict[str, Any], status: int, text: str) -> None:
    response = served.post(CHAT, HI | fields)
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    assert response.status_code == status
    assert response.json() == {"error": {"message": text, "type": kind, "param": None, "code": None}}


def test_errors_of_the_wire(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    served = serve(fake)
    assert served.post(CHAT, b"").json()["error"]["message"] == "EOF"
    fake.fail_with = QueueFull(9)
    full = served.post(CHAT, HI)
    assert (full.status_code, full.headers["Retry-After"]) == (503, "1")
    assert full.json()["error"]["type"] == "api_error"
    fake.fail_with, fake.fail_after = RunnerDied(), 1
    first, error = events(served.post(CHAT, HI | {"stream": True}).text)
    assert first["choices"][0]["delta"]["content"] == "t0 "
    assert error["error"]["message"] == str(RunnerDied())


def test_models(served: Served) -> None:
    (model,) = served.request("GET", "/v1/models").json()["data"]
    assert model == {"id": MODEL, "object": "model", "created": 1780403400, "owned_by": "library"}
    one = served.request("GET", "/v1/models/library%2Fsmollm2:135m").json()
    assert one == model | {"id": "library/smollm2:135m"}
    assert served.request("GET", "/v1/models/library/smollm2:135m").json()["id"] == "library/smollm2:135m"
    missing = served.request("GET", "/v1/models/nope")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
