"""Tools by unmodified clients: a service on a workbench from memory says what a model would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_openai import ChatOpenAI
from msgspec.structs import replace
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from openai.types.responses import ResponseFunctionToolCall
from pydantic import SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, ToolCall
from tests.fakes.served import MODEL, ServedFake

WEATHER: dict[str, Any] = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
ASK: dict[str, Any] = {"role": "user", "content": "How is the weather in Rome?"}


@pytest.fixture
def fake() -> ServedFake:
    fake = ServedFake.with_models(MODEL)
    fake.can_call(MODEL)
    fake.calls, fake.words = (ToolCall("weather", {"place": "Rome"}), ToolCall("weather", {"place": "Köln"})), ()
    return fake


@pytest.fixture
def client(fake: ServedFake) -> Iterator[openai.OpenAI]:
    service = Service(replace(Settings(models=Path("/nonexistent"), listen_port=0)), workbench=lambda _: fake)
    service.start()
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="unused", max_retries=0) as client:
        yield client
    service.stop(drain_s=0)


def test_chat(client: openai.OpenAI, fake: ServedFake) -> None:
    tools = cast(Any, [{"type": "function", "function": WEATHER}])
    reply = client.chat.completions.create(model=MODEL, messages=cast(Any, [ASK]), tools=tools)
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    calls = [one for one in choice.message.tool_calls or () if isinstance(one, ChatCompletionMessageFunctionToolCall)]
    assert [json.loads(one.function.arguments) for one in calls] == [{"place": "Rome"}, {"place": "Köln"}]
    results = [{"role": "tool", "tool_call_id": one.id, "content": "sun"} for one in calls]
    said = cast(Any, [ASK, choice.message, *results])
    fake.calls, fake.words = (), ("fine",)
    assert client.chat.completions.create(model=MODEL, messages=said, tools=tools).choices[0].message.content == "fine"
    request = fake.asked[-1]
    assert isinstance(request, ChatRequest)
    assert [(one.tool_name, one.content) for one in request.messages[2:]] == [("weather", "sun")] * 2
    assert [one.id for one in request.messages[1].tool_calls] == [one.id for one in calls]


def test_stream(client: openai.OpenAI) -> None:
    tools = cast(Any, [{"type": "function", "function": WEATHER | {"strict": True}}])
    with client.chat.completions.stream(model=MODEL, messages=cast(Any, [ASK]), tools=tools) as stream:
        done = [one for one in stream if one.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion().choices[0]
    assert [(one.index, one.name, json.loads(one.arguments)) for one in done] == [
        (0, "weather", {"place": "Rome"}),
        (1, "weather", {"place": "Köln"}),
    ]
    assert (final.finish_reason, len(final.message.tool_calls or ())) == ("tool_calls", 2)


def test_responses(client: openai.OpenAI, fake: ServedFake) -> None:
    tools = cast(Any, [{"type": "function", **WEATHER}])
    with client.responses.stream(model=MODEL, input=cast(Any, [ASK]), tools=tools) as stream:
        done = [one for one in stream if one.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()
    assert [json.loads(one.arguments) for one in done] == [{"place": "Rome"}, {"place": "Köln"}]
    calls = [one for one in final.output if isinstance(one, ResponseFunctionToolCall)]
    results = [{"type": "function_call_output", "call_id": one.call_id, "output": "sun"} for one in calls]
    fake.calls, fake.words = (), ("fine",)
    said = cast(Any, [ASK, *(one.to_dict() for one in final.output), *results])
    assert client.responses.create(model=MODEL, input=said, tools=tools).output_text == "fine"
    request = fake.asked[-1]
    assert isinstance(request, ChatRequest)
    assert [(one.role, len(one.tool_calls)) for one in request.messages] == [
        *(("user", 0), ("assistant", 2)),
        *(("tool", 0), ("tool", 0)),
    ]


def test_langchain(client: openai.OpenAI) -> None:
    close = {"Connection": "close"}  # it keeps connections and never closes them
    model = ChatOpenAI(model=MODEL, base_url=str(client.base_url), api_key=SecretStr("unused"), default_headers=close)
    bound = model.bind_tools([{"type": "function", "function": WEATHER}])
    whole = bound.invoke("How is the weather?")
    assert isinstance(whole, AIMessage)
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [
        ("weather", {"place": "Rome"}),
        ("weather", {"place": "Köln"}),
    ]
    parts = [part for part in bound.stream("How is the weather?") if isinstance(part, AIMessageChunk)]
    assert [call["args"] for call in sum(parts[1:], parts[0]).tool_calls] == [{"place": "Rome"}, {"place": "Köln"}]


async def test_pydantic_ai(client: openai.OpenAI, fake: ServedFake) -> None:
    asked: list[str] = []

    def weather(place: str) -> str:
        asked.append(place)
        fake.calls, fake.words = (), ("fine",)
        return "sun"

    provider = OpenAIProvider(base_url=str(client.base_url), api_key="unused")
    async with provider.client:
        agent = Agent(OpenAIChatModel(MODEL, provider=provider), tools=[weather])
        found = await agent.run("How is the weather in Rome?")
    assert (sorted(asked), found.output) == (["Köln", "Rome"], "fine")
