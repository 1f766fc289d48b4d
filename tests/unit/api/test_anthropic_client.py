"""The unmodified `anthropic` package against a workbench from memory: tools and thoughts, there and back."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types import Message as Reply
from anthropic.types import MessageParam, ToolParam
from msgspec.structs import replace

from corral.runtime.verbs import ChatRequest, Message, ToolCall, ToolChoice
from tests.fakes.served import MODEL, Serve, ServedFake

HELLO: list[MessageParam] = [{"role": "user", "content": "Say hello."}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def connected(base_url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base_url, api_key="unused", max_retries=0)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_with_tools(serve: Serve, streamed: bool) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.models[MODEL] = replace(fake.models[MODEL], capabilities=("completion", "tools"))
    fake.words, fake.calls = (), [ToolCall("weather", {"city": "Bern"}, "toolu_1")]
    served = serve(fake)
    asked: list[MessageParam] = [{"role": "user", "content": "How is the weather in Bern?"}]
    with connected(served.service.base_url) as client:
        first: Reply
        if streamed:
            with client.messages.stream(
                model=MODEL, max_tokens=64, messages=asked, tools=[WEATHER], tool_choice={"type": "any"}
            ) as stream:
                first = stream.get_final_message()
        else:
            first = client.messages.create(
                model=MODEL, max_tokens=64, messages=asked, tools=[WEATHER], tool_choice={"type": "any"}
            )
        (use,) = first.content
        assert use.type == "tool_use"
        assert (use.name, use.input, use.id, first.stop_reason) == ("weather", {"city": "Bern"}, "toolu_1", "tool_use")
        fake.words, fake.calls = ["Sunny."], ()
        result: MessageParam = {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny, 21 degrees"}],
        }
        last = client.messages.create(
            model=MODEL,
            max_tokens=64,
            messages=[*asked, first.to_param(), result],
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        )
    (text,) = last.content
    assert text.type == "text"
    assert (text.text, last.stop_reason) == ("Sunny.", "end_turn")
    one, two = fake.asked
    assert isinstance(one, ChatRequest)
    assert isinstance(two, ChatRequest)
    assert (one.tools.choice, one.tools.only, one.tools.parallel) == (ToolChoice.REQUIRED, "", True)
    assert (two.tools.choice, two.tools.only, two.tools.parallel) == (ToolChoice.REQUIRED, "weather", False)
    assert two.messages == (
        Message("user", "How is the weather in Bern?"),
        Message("assistant", tool_calls=(ToolCall("weather", {"city": "Bern"}, "toolu_1"),)),
        Message("tool", "sunny, 21 degrees", tool_name="weather", tool_call_id="toolu_1"),
    )


def test_thoughts(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.can_think(MODEL)
    fake.thoughts = ["hm ", "yes"]
    with connected(serve(fake).service.base_url) as client:
        with client.messages.stream(
            model=MODEL, max_tokens=64, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
        ) as stream:
            reply = stream.get_final_message()
        thought, text = reply.content
        assert thought.type == "thinking"
        assert (thought.thinking, bool(thought.signature)) == ("hm yes", True)
        assert text.type == "text"
        client.messages.create(model=MODEL, max_tokens=64, messages=[*HELLO, reply.to_param(), *HELLO])
    request = fake.asked[-1]
    assert isinstance(request, ChatRequest)
    assert request.messages[1] == Message("assistant", "t0 t1 t2 ", "hm yes")
