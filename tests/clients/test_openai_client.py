"""The unmodified `openai` package against a real service with a real model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, ConfigDict, Field

from tests.conftest import LiveServer

pytestmark = pytest.mark.model
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live_server.base_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI, live_server: LiveServer) -> None:
    # Bound to one text: llama.cpp rounds by where in its cache a sequence lies, and that turns free answers.
    bound = {"options": {"regex": "Hello there, my dear old friend!"}}
    whole = client.chat.completions.create(
        model=live_server.model, messages=HELLO, temperature=0, max_tokens=8, extra_body=bound
    )
    chunks = list(
        client.chat.completions.create(
            model=live_server.model,
            messages=HELLO,
            temperature=0,
            max_completion_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=bound,
        )
    )
    (choice,) = whole.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    *texts, finish, usage = chunks
    assert texts[0].choices[0].delta.role == "assistant"
    assert "".join(one.choices[0].delta.content or "" for one in texts) == choice.message.content
    assert finish.choices[0].finish_reason == choice.finish_reason
    assert usage.usage is not None
    assert whole.usage is not None
    assert usage.usage.completion_tokens == whole.usage.completion_tokens
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + usage.usage.completion_tokens


def test_text_parts_and_further_fields(client: openai.OpenAI, live_server: LiveServer) -> None:
    reply = client.chat.completions.create(
        model=live_server.model,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Count: one, two,"}]},
        ],
        seed=1,
        stop=["\n"],
        max_tokens=8,
        extra_body={"num_ctx": 512, "keep_alive": "1m", "options": {"top_k": 1}},
    )
    assert "\n" not in (reply.choices[0].message.content or "")


def test_models(client: openai.OpenAI, live_server: LiveServer) -> None:
    assert live_server.model in [model.id for model in client.models.list()]
    assert client.models.retrieve(live_server.model).owned_by == "library"


def test_errors(client: openai.OpenAI, live_server: LiveServer) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")
    with pytest.raises(openai.BadRequestError, match="n must be between 1 and 128"):
        client.chat.completions.create(model=live_server.model, messages=HELLO, n=0)
    with pytest.raises(openai.BadRequestError, match="too short"):
        client.chat.completions.create(model=live_server.model, messages=[])


def test_embeddings(client: openai.OpenAI, live_server: LiveServer) -> None:
    packed = client.embeddings.create(model=live_server.model, input=["the fox ran", "a dog"])
    plain = client.embeddings.create(
        model=live_server.model, input="the fox ran", encoding_format="float", dimensions=9
    )
    assert [one.index for one in packed.data] == [0, 1]
    assert len(plain.data[0].embedding) == 9
    assert packed.usage.prompt_tokens > plain.usage.prompt_tokens > 0
    ratio = packed.data[0].embedding[0] / plain.data[0].embedding[0]
    for whole, cut in zip(packed.data[0].embedding, plain.data[0].embedding, strict=False):
        assert whole == pytest.approx(cut * ratio, abs=1e-4)
    with pytest.raises(openai.BadRequestError, match="invalid input type"):
        client.embeddings.create(model=live_server.model, input=[1, 2, 3])


class Colour(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["red", "green", "blue"]
    note: str = Field(max_length=15)


def test_response_formats(client: openai.OpenAI, live_server: LiveServer) -> None:
    ask: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Which colour, as JSON?"}]
    parsed = client.chat.completions.parse(model=live_server.model, messages=ask, response_format=Colour, seed=1)
    assert parsed.choices[0].message.parsed is not None
    assert parsed.choices[0].message.parsed.name in ("red", "green", "blue")
    whole = client.chat.completions.create(
        model=live_server.model, messages=ask, response_format={"type": "json_object"}, max_tokens=5
    )
    assert (whole.choices[0].message.content or "").startswith("{")
    with pytest.raises(openai.BadRequestError, match="invalid JSON schema in format"):
        client.chat.completions.create(
            model=live_server.model,
            messages=ask,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}},
        )


def test_log_probabilities(client: openai.OpenAI, live_server: LiveServer) -> None:
    whole = client.chat.completions.create(
        model=live_server.model, messages=HELLO, temperature=0, max_tokens=5, logprobs=True, top_logprobs=2
    )
    (choice,) = whole.choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    assert [len(one.top_logprobs) for one in choice.logprobs.content] == [2] * len(choice.logprobs.content)
    chunks = list(
        client.chat.completions.create(
            model=live_server.model, messages=HELLO, temperature=0, max_tokens=5, logprobs=True, stream=True
        )
    )
    content = [one.logprobs.content for chunk in chunks for one in chunk.choices if one.logprobs]
    said = "".join(one.delta.content or "" for chunk in chunks for one in chunk.choices)
    assert "".join(one.token for part in content for one in part or ()) == said


def test_biases(client: openai.OpenAI, live_server: LiveServer) -> None:
    bias = {"2": 100}  # the token that ends an answer
    reply = client.chat.completions.create(
        model=live_server.model, messages=HELLO, temperature=0, max_tokens=5, logit_bias=bias
    )
    assert reply.choices[0].message.content == ""


def test_several_answers_share_their_prompt(client: openai.OpenAI, live_server: LiveServer) -> None:
    said = [{"role": "user", "content": "Say a number. " + "One, two, three. " * 20}]
    reply = client.chat.completions.create(
        model=live_server.model, messages=cast(Any, said), n=3, seed=7, max_tokens=6, temperature=1.5
    )
    texts = [choice.message.content for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    rows = live_server.service.client.requests.rows()
    own = [row for row in rows if row.id.startswith(reply.id.removeprefix("chatcmpl-"))]
    assert reply.usage is not None
    assert [row.prompt_tokens for row in own] == [reply.usage.prompt_tokens] * 3
    assert sum(row.prompt_tokens - row.cached_tokens for row in own) < 1.5 * reply.usage.prompt_tokens
    chunks = list(
        client.chat.completions.create(
            model=live_server.model, messages=cast(Any, said), n=2, seed=7, temperature=0, max_tokens=3, stream=True
        )
    )
    ends = [(one.choices[0].index, one.choices[0].finish_reason) for one in chunks if one.choices[0].finish_reason]
    assert sorted(ends) == [(0, "length"), (1, "length")]


def test_completions(client: openai.OpenAI, live_server: LiveServer) -> None:
    bound = {"regex": "a time there was"}
    whole = client.completions.create(
        model=live_server.model, prompt=["Once upon", "Twice"], max_tokens=16, logprobs=1, extra_body=bound
    )
    assert [choice.text for choice in whole.choices] == ["a time there was"] * 2
    told = whole.choices[0].logprobs
    assert told is not None
    assert "".join(told.tokens or ()) == "a time there was"
    assert [len(one) for one in told.top_logprobs or ()] == [1] * len(told.tokens or ())
    parts = client.completions.create(
        model=live_server.model, prompt="Once upon", max_tokens=16, stream=True, extra_body=bound
    )
    assert "".join(part.choices[0].text for part in parts) == "a time there was"


def test_responses(client: openai.OpenAI, live_server: LiveServer) -> None:
    bound = {"regex": "Hello there, my friend!"}
    whole = client.responses.create(
        model=live_server.model, instructions="Be brief.", input="Say hello.", extra_body=bound
    )
    assert (whole.output_text, whole.status) == ("Hello there, my friend!", "completed")
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    said = [{"role": "user", "content": "Say hello."}, *(item.to_dict() for item in whole.output)]
    with client.responses.stream(model=live_server.model, input=cast(Any, said), extra_body=bound) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Hello there, my friend!"
    short = client.responses.create(model=live_server.model, input="Count to 100.", max_output_tokens=3, temperature=0)
    assert (short.status, short.incomplete_details is not None) == ("incomplete", True)
    parsed = client.responses.parse(
        model=live_server.model, input="Which colour, as JSON?", text_format=Colour, extra_body={"seed": 1}
    )
    assert isinstance(parsed.output_parsed, Colour)
    with pytest.raises(openai.BadRequestError, match="nothing is kept here"):
        client.responses.create(model=live_server.model, input="x", previous_response_id="resp_1")
