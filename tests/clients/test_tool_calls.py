"""Tools on a real model behind a real service: by the unmodified `ollama` package and through our own client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import ollama
import pytest

from corral.api.client import HttpClient
from corral.runtime.conversation import Message, ToolCall, ToolChoice, Tools
from corral.runtime.verbs import ChatRequest, Chunk
from tests.conftest import LiveServer

pytestmark = pytest.mark.model
MODEL = "tools:135m"
TEMPLATE = """{{- if .Tools }}<|im_start|>system
Call a function where one helps:{{ range .Tools }} {{ . }}{{ end }}<|im_end|>
{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}
</tool_call>{{ else }}{{ .Content }}{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "What the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Oslo", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "time", "description": "What time it is."}}
ASK = "How is the weather in Oslo?"


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=live_server.base_url, trust_env=False) as client:
        client.create(MODEL, from_=live_server.model, template=TEMPLATE)
        yield client
        client.delete(MODEL)


def test_a_conversation_with_a_tool(client: ollama.Client) -> None:
    assert client.show(MODEL).capabilities == ["completion", "tools"]
    # The client knows no tool_choice: the text is bound, and read as any other.
    call = r'<tool_call>\n\{"name": "weather", "arguments": \{"city": "Oslo", "days": 2\}\}\n</tool_call>'
    messages: list[dict[str, object] | ollama.Message] = [{"role": "user", "content": ASK}]
    parts = list(
        client.chat(
            MODEL, messages, tools=[WEATHER], stream=True, options={"regex": rf"Let me look\. {call}", "temperature": 0}
        )
    )
    assert "".join(part.message.content or "" for part in parts) == "Let me look."
    (told,) = [part for part in parts if part.message.tool_calls]
    assert not told.done
    assert told.message.tool_calls is not None
    (asked,) = told.message.tool_calls
    assert (asked.function.name, asked.function.arguments) == ("weather", {"city": "Oslo", "days": 2})
    assert parts[-1].done_reason == "stop"
    messages += [told.message, {"role": "tool", "content": "It rains.", "tool_name": asked.function.name}]
    answer = client.chat(MODEL, messages, tools=[WEATHER], options={"regex": "Take an umbrella!", "temperature": 0})
    assert (answer.message.content, answer.message.tool_calls) == ("Take an umbrella!", None)


def test_calls_can_be_insisted_on(client: ollama.Client, live_server: LiveServer) -> None:
    async def chat(tools: Tools) -> tuple[str, list[ToolCall]]:
        own = HttpClient(live_server.base_url)
        request = ChatRequest(MODEL, (Message("user", ASK),), tools=tools, options={"num_predict": 120, "seed": 1})
        try:
            chunks: list[Chunk] = [chunk async for chunk in own.chat(request)]
        finally:
            await own.close()
        return "".join(chunk.text for chunk in chunks), [call for chunk in chunks for call in chunk.tool_calls]

    for tools in (
        Tools((WEATHER, TIME), ToolChoice.REQUIRED, "weather", parallel=False),
        Tools((WEATHER,), ToolChoice.REQUIRED, parallel=False),
    ):
        text, (call,) = asyncio.run(chat(tools))
        assert (text, call.name) == ("", "weather")
        assert call.arguments["city"] in ("Oslo", "Rome")
        assert call.arguments["days"] in range(1, 10)
        assert re.fullmatch("call_[a-z0-9]{8}", call.id)
    _, (call,) = asyncio.run(chat(Tools((WEATHER, TIME), ToolChoice.REQUIRED, "time", parallel=False)))
    assert (call.name, call.arguments) == ("time", {})
    _, none = asyncio.run(chat(Tools((WEATHER,), ToolChoice.NONE)))
    assert none == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tool_choice": "required"}, "tool_choice asks for a call, but there are no tools"),
        ({"tools": [{}]}, "tools[0] has no function with a name"),
        (
            {"tools": [TIME], "tool_choice": "required", "format": "json"},
            "only one of format, grammar, regex and a tool_choice that asks for a call can be given",
        ),
    ],
)
def test_what_cannot_be_asked(
    client: ollama.Client, live_server: LiveServer, fields: dict[str, object], text: str
) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": ASK}], **fields}
    reply = httpx.post(f"{live_server.base_url}/api/chat", json=body, timeout=60, trust_env=False)
    assert (reply.status_code, reply.json()) == (400, {"error": text})


def test_a_model_without_tools(client: ollama.Client, live_server: LiveServer) -> None:
    with pytest.raises(ollama.ResponseError) as refused:
        client.chat(live_server.model, [{"role": "user", "content": ASK}], tools=[WEATHER])
    assert refused.value.status_code == 400
    assert refused.value.error == f"registry.ollama.ai/library/{live_server.model} does not support tools"
