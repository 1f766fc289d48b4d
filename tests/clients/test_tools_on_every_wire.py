"""A conversation with a tool, and an answer that Pydantic reads, on a real model through each of the three APIs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import httpx
import ollama
import openai
import pytest
from pydantic import BaseModel, Field

from tests.clients.test_tool_calls import ASK, TEMPLATE, WEATHER
from tests.conftest import LiveServer
from tests.unit.runtime.test_engine_lazy_calls import STARTER_TAG

pytestmark = pytest.mark.model
MODEL = "toolbox:135m"
FORECAST = "It rains, with 8 degrees."


class City(BaseModel):
    """What a model is to say of a city."""

    name: Literal["Oslo", "Rome"]
    inhabitants: int = Field(ge=0, le=10**9)


@pytest.fixture(scope="module")
def url(live_server: LiveServer) -> Iterator[str]:
    with ollama.Client(host=live_server.base_url, trust_env=False) as client:
        client.create(MODEL, from_=live_server.model, template=TEMPLATE, parameters={"temperature": 0})
        yield live_server.base_url
        client.delete(MODEL)


def expect_weather(arguments: dict[str, Any]) -> None:
    assert arguments["city"] in ("Oslo", "Rome")
    assert arguments["days"] in range(1, 10)


@pytest.mark.parametrize("streamed", [False, True])
def test_openai(url: str, streamed: bool) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        messages: list[Any] = [{"role": "user", "content": ASK}]
        asked: dict[str, Any] = {"model": MODEL, "tools": [WEATHER], "max_tokens": 120, "parallel_tool_calls": False}
        if streamed:
            with client.chat.completions.stream(messages=messages, tool_choice="required", **asked) as stream:
                for _ in stream:
                    pass
                first = stream.get_final_completion().choices[0]
        else:
            first = client.chat.completions.create(messages=messages, tool_choice="required", **asked).choices[0]
        assert first.finish_reason == "tool_calls"
        (call,) = first.message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "weather"
        expect_weather(json.loads(call.function.arguments))
        messages += [
            {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]},
            {"role": "tool", "tool_call_id": call.id, "content": FORECAST},
        ]
        last = client.chat.completions.create(messages=messages, tool_choice="none", **asked).choices[0]
        assert last.message.content
        assert not last.message.tool_calls


def test_openai_responses(url: str) -> None:
    function = WEATHER["function"]
    assert isinstance(function, dict)
    tool: Any = {"type": "function", "strict": False, **function}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        asked: dict[str, Any] = {"model": MODEL, "tools": [tool], "parallel_tool_calls": False}
        first = client.responses.create(input=ASK, tool_choice="required", max_output_tokens=120, **asked)
        (call,) = [item for item in first.output if item.type == "function_call"]
        expect_weather(json.loads(call.arguments))
        heard: Any = [
            {"role": "user", "content": ASK},
            call.model_dump(include={"type", "call_id", "name", "arguments"}),
            {"type": "function_call_output", "call_id": call.call_id, "output": FORECAST},
        ]
        last = client.responses.create(input=heard, tool_choice="none", max_output_tokens=32, **asked)
        assert last.output_text


def test_a_call_that_nobody_had_to_make_fits(url: str) -> None:
    """With `auto`, on each of the three: the model is led to say the mark, everything behind it is its own."""
    beginning = {str(token): 1000.0 - 100 * at for at, token in enumerate(STARTER_TAG)}
    parameters = {"logit_bias": beginning, "presence_penalty": 2000.0, "repeat_last_n": 8, "temperature": 1, "seed": 3}
    weather: Any = WEATHER
    function = weather["function"]
    tool: Any = {"name": function["name"], "input_schema": function["parameters"]}
    messages: list[Any] = [{"role": "user", "content": ASK}]
    with ollama.Client(host=url, trust_env=False) as client:
        client.create("eager", from_=MODEL, parameters=parameters)
    asked = {
        "model": "eager",
        "messages": messages,
        "tools": [weather],
        "stream": False,
        "options": {"num_predict": 300},
    }
    said = httpx.post(f"{url}/api/chat", json=asked, timeout=60, trust_env=False).json()["message"]["tool_calls"]
    found = [call["function"]["arguments"] for call in said]  # Ollama's client drops what schemas say of numbers
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as of_openai:
        one = of_openai.chat.completions.create(
            model="eager", messages=messages, tools=[weather], max_tokens=300, parallel_tool_calls=False, seed=3
        ).choices[0]
        calls = one.message.tool_calls or []
        assert (one.finish_reason, len(calls)) == ("tool_calls", 1)
        found += [json.loads(call.function.arguments) for call in calls if call.type == "function"]
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as of_anthropic:
        choice: Any = {"type": "auto", "disable_parallel_tool_use": True}
        reply = of_anthropic.messages.create(
            model="eager", max_tokens=300, messages=messages, tools=[tool], tool_choice=choice
        )
        assert reply.stop_reason == "tool_use"
        found += [block.input for block in reply.content if block.type == "tool_use" and isinstance(block.input, dict)]
    assert len(found) >= 3
    for arguments in found:
        expect_weather(arguments)


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic(url: str, streamed: bool) -> None:
    function = WEATHER["function"]
    assert isinstance(function, dict)
    tool: Any = {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }
    choice: Any = {"type": "any", "disable_parallel_tool_use": True}
    messages: list[Any] = [{"role": "user", "content": ASK}]
    with anthropic.Anthropic(base_url=url, api_key="none") as client:
        first: anthropic.types.Message
        if streamed:
            with client.messages.stream(
                model=MODEL, max_tokens=120, messages=messages, tools=[tool], tool_choice=choice
            ) as stream:
                first = stream.get_final_message()
        else:
            first = client.messages.create(
                model=MODEL, max_tokens=120, messages=messages, tools=[tool], tool_choice=choice
            )
        assert first.stop_reason == "tool_use"
        (use,) = [block for block in first.content if block.type == "tool_use"]
        assert use.name == "weather"
        assert isinstance(use.input, dict)
        expect_weather(use.input)
        messages += [
            {"role": "assistant", "content": [use.model_dump(include={"type", "id", "name", "input"})]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": FORECAST}]},
        ]
        last = client.messages.create(
            model=MODEL, max_tokens=32, messages=messages, tools=[tool], tool_choice={"type": "none"}
        )
        assert [block.type for block in last.content] == ["text"]
        counted = client.messages.count_tokens(model=MODEL, messages=messages, tools=[tool])
        assert counted.input_tokens > client.messages.count_tokens(model=MODEL, messages=messages).input_tokens


def test_what_pydantic_reads(url: str) -> None:
    question: Any = [{"role": "user", "content": "Tell me of Rome."}]
    schema = City.model_json_schema()
    with ollama.Client(host=url, trust_env=False) as client:
        said = client.chat(MODEL, question, format=schema, options={"num_predict": 100}).message.content
    assert City.model_validate_json(said or "").name in ("Oslo", "Rome")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client_of_openai:
        parsed = client_of_openai.chat.completions.parse(
            model=MODEL, messages=question, response_format=City, max_tokens=100
        )
        assert isinstance(parsed.choices[0].message.parsed, City)
    with anthropic.Anthropic(base_url=url, api_key="none") as client_of_anthropic:
        tool: Any = {"name": "city", "input_schema": schema}
        reply = client_of_anthropic.messages.create(
            model=MODEL, max_tokens=120, messages=question, tools=[tool], tool_choice={"type": "tool", "name": "city"}
        )
    use, *_ = [block for block in reply.content if block.type == "tool_use"]
    assert City.model_validate(use.input)
