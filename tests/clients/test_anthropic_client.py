"""The unmodified `anthropic` package against a real service with a real model."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import MessageParam

from tests.conftest import LiveServer

pytestmark = pytest.mark.model
HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello."}]
BOUND: dict[str, object] = {"temperature": 0, "options": {"regex": "Hello there, my dear old friend!"}}
"""One text: llama.cpp rounds by where in its cache a sequence lies, and that turns free answers.

Newer versions of the package have no arguments for how tokens are drawn.
"""


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=live_server.base_url, api_key="unused", max_retries=0) as client:
        yield client


def test_messages(client: anthropic.Anthropic, live_server: LiveServer) -> None:
    whole = client.messages.create(model=live_server.model, max_tokens=8, messages=HELLO, extra_body=BOUND)
    with client.messages.stream(model=live_server.model, max_tokens=8, messages=HELLO, extra_body=BOUND) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
        text = stream.get_final_text()
    (block,) = whole.content
    assert block.type == "text"
    assert block.text == text != ""
    assert whole.stop_reason == streamed.stop_reason
    assert (whole.role, whole.type, whole.model) == ("assistant", "message", live_server.model)
    assert whole.usage.output_tokens == streamed.usage.output_tokens > 0
    assert (whole._request_id or "").startswith("req_")
    assert [kinds[0], *kinds[-2:]] == ["message_start", "message_delta", "message_stop"]
    counted = client.messages.count_tokens(model=live_server.model, messages=HELLO).input_tokens
    for usage in (whole.usage, streamed.usage):
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted
    assert streamed.usage.cache_read_input_tokens


def test_a_stream_says_from_the_beginning_what_the_prompt_has(
    client: anthropic.Anthropic, live_server: LiveServer
) -> None:
    counted = client.messages.count_tokens(model=live_server.model, messages=HELLO, system="Be brief.").input_tokens
    with client.messages.create(
        model=live_server.model, max_tokens=2, messages=HELLO, system="Be brief.", stream=True
    ) as events:
        first = next(iter(events))
    assert first.type == "message_start"
    usage = first.message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted


def test_further_fields(client: anthropic.Anthropic, live_server: LiveServer) -> None:
    reply = client.messages.create(
        model=live_server.model,
        max_tokens=20,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}],
        stop_sequences=["dear"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "somebody"},
        extra_body=BOUND | {"top_k": 1, "top_p": 0.9},
        extra_headers={"anthropic-beta": "prompt-caching-2024-07-31"},
        extra_query={"beta": "true"},
    )
    (block,) = reply.content
    assert block.type == "text"
    assert block.text == "Hello there, my "
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "dear")


def test_models(client: anthropic.Anthropic, live_server: LiveServer) -> None:
    ids = [model.id for model in client.models.list(limit=1)]
    assert live_server.model in ids
    model = client.models.retrieve(live_server.model)
    assert (model.id, model.type, model.max_input_tokens) == (live_server.model, "model", 8192)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nope")


def test_errors(client: anthropic.Anthropic, live_server: LiveServer) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found") as missing:
        client.messages.create(model="nope", max_tokens=8, messages=HELLO)
    assert (missing.value.request_id or "").startswith("req_")
    with pytest.raises(anthropic.NotFoundError), client.messages.stream(model="nope", max_tokens=8, messages=HELLO):
        pass
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nope", messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is required"):
        client.messages.create(model=live_server.model, max_tokens=0, messages=HELLO)
    picture: MessageParam = {
        "role": "user",
        "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x.png"}}],
    }
    with pytest.raises(anthropic.BadRequestError, match="only data:"):
        client.messages.create(model=live_server.model, max_tokens=8, messages=[picture])
