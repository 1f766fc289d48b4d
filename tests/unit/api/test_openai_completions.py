"""`/v1/completions` field by field, on a workbench from memory."""

from __future__ import annotations

from typing import Any

import pytest

from corral.runtime.errors import RunnerDied
from corral.runtime.verbs import DoneReason
from tests.fakes.served import MODEL, Serve, Served, ServedFake
from tests.unit.api.openai_events import events, prompts_of

PATH = "/v1/completions"
ONCE: dict[str, Any] = {"model": MODEL, "prompt": "Once"}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_whole_answer(served: Served) -> None:
    reply = served.post(PATH, ONCE | {"suffix": " end", "max_tokens": 5, "temperature": 0, "stop": "x"}).json()
    assert reply.pop("id").startswith("cmpl-")
    assert isinstance(reply.pop("created"), int)
    assert reply == {
        "object": "text_completion",
        "model": MODEL,
        "system_fingerprint": "fp_ollama",
        "choices": [{"text": "t0 t1 t2 ", "index": 0, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    (verb,) = prompts_of(served)
    assert (verb.prompt, verb.suffix, verb.raw) == ("Once", " end", False)
    assert verb.options == {"temperature": 0, "top_p": 1.0, "num_predict": 5, "stop": ["x"]}


def test_stream(served: Served) -> None:
    *chunks, usage, end = events(
        served.post(PATH, ONCE | {"stream": True, "stream_options": {"include_usage": True}}).text
    )
    assert [one["choices"][0] for one in chunks] == [
        {"text": "t0 ", "index": 0, "finish_reason": None},
        {"text": "t1 ", "index": 0, "finish_reason": None},
        {"text": "t2 ", "index": 0, "finish_reason": None},
        {"text": "", "index": 0, "finish_reason": "stop"},
    ]
    assert {one["object"] for one in chunks} == {"text_completion"}
    assert [one["usage"] for one in chunks] == [ZERO] * 4
    assert (usage["choices"], usage["usage"]["total_tokens"], end) == ([], 15, "[DONE]")
    without = events(served.post(PATH, ONCE | {"stream": True}).text)
    assert [type(one) for one in without] == [dict] * 4 + [str]
    assert not any("usage" in one for one in without[:-1])


def test_several_prompts_and_answers(served: Served) -> None:
    reply = served.post(PATH, ONCE | {"prompt": ["a", "b"], "n": 2, "best_of": 2, "echo": True, "seed": 3}).json()
    assert [(one["index"], one["text"]) for one in reply["choices"]] == [
        (index, f"{prompt}t0 t1 t2 ") for index, prompt in enumerate("aabb")
    ]
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (24, 12)
    assert [(verb.prompt, verb.options["seed"]) for verb in prompts_of(served)] == [
        *(("a", 3), ("a", 4)),
        *(("b", 3), ("b", 4)),
    ]


def test_an_echo_comes_first(served: Served) -> None:
    first, second, *_ = events(served.post(PATH, ONCE | {"echo": True, "stream": True}).text)
    assert (first["choices"][0]["text"], second["choices"][0]["text"]) == ("Oncet0 ", "t1 ")


def test_logprobs(served: Served) -> None:
    (choice,) = served.post(PATH, ONCE | {"logprobs": 2}).json()["choices"]
    told = choice["logprobs"]
    assert (told["tokens"], told["token_logprobs"]) == (["t0 ", "t1 ", "t2 "], [-0.5] * 3)
    assert told["text_offset"] == [0, 3, 6]
    assert told["top_logprobs"][0] == {"t0 0": -1.0, "t0 1": -2.0}
    assert [one["token"] for one in told["content"]] == told["tokens"]
    _first, second, *_ = events(served.post(PATH, ONCE | {"logprobs": 1, "stream": True}).text)
    assert second["choices"][0]["logprobs"]["text_offset"] == [3]


def test_what_is_said_of_the_end(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.done_reason, fake.warnings = DoneReason.LENGTH, ("cut",)
    served = serve(fake)
    reply = served.post(PATH, ONCE | {"typo": 1}).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["warnings"] == ["field 'typo' is not known and was ignored", "cut"]
    *_, finish, _end = events(served.post(PATH, ONCE | {"typo": 1, "stream": True}).text)
    assert finish["warnings"] == reply["warnings"]
    fake.done_reason = DoneReason.LOAD
    assert served.post(PATH, {"model": MODEL}).json()["choices"][0] == {"text": "", "index": 0, "finish_reason": "stop"}
    fake.fail_with, fake.fail_after = RunnerDied(), 1
    _first, error = events(served.post(PATH, ONCE | {"stream": True}).text)
    assert error["error"]["message"] == str(RunnerDied())


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "nope", "n": 0}, 404, "model 'nope' not found"),
        ({"n": 0}, 400, "n must be between 1 and 128"),
        ({"prompt": ["a"] * 3, "n": 43}, 400, "n must be between 1 and 42"),
        ({"prompt": ["a"] * 129}, 400, "prompt takes 128 texts at most"),
        ({"best_of": 2}, 400, "best_of other than n is not supported"),
        ({"echo": True, "logprobs": 1}, 400, "echo together with logprobs is not supported"),
        ({"logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ({"prompt": [1, 2]}, 400, "prompt must be a text or a list of texts; token ids are not taken"),
        ({"prompt": []}, 400, "prompt must be a text or a list of texts; token ids are not taken"),
        ({"stop": ["a", 1]}, 400, "invalid type for 'stop' field: float64"),
        ({"top_k": "x"}, 400, 'option "top_k" must be of type integer'),
        ({"think": 5}, 400, 'invalid think value: "5" (must be "high", "medium", "low", "max", true, or false)'),
    ],
)
def test_refusals(served: Served, fields: dict[str, Any], status: int, text: str) -> None:
    response = served.post(PATH, ONCE | fields)
    assert (response.status_code, response.json()["error"]["message"]) == (status, text)
