"""Model families' own chat templates, rendered as Hugging Face's `apply_chat_template` renders them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corral.runtime.engine.protocol import ToolCall, Turn
from corral.runtime.prompt.render import ModelTemplate, renderer_for

TEMPLATES = {path.stem: path.read_text() for path in Path(__file__).parent.glob("templates/*.jinja")}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "A <city> & more"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
MARKS = {"generation"}
SYSTEM = Turn("system", "Be kind.")
ASKED = [SYSTEM, Turn("user", "How is the weather in Zürich?")]
ARGUMENTS = {"city": "Zürich", "days": 2}
CALL = ToolCall("get_weather", json.dumps(ARGUMENTS), "abcdef123")
ANSWERED = [
    *ASKED,
    Turn("assistant", "", "I should look.", tool_calls=[CALL]),
    Turn("tool", "22 degrees", tool_name="get_weather", tool_call_id="abcdef123"),
]
TALKED = [SYSTEM, Turn("user", "Hello"), Turn("assistant", "Hi", "A greeting."), Turn("user", "Bye")]

NO_CALLS = {"ibm-granite-granite-3.3-2B-Instruct", "HuggingFaceTB-SmolLM3-3B", "microsoft-Phi-3.5-mini-instruct"}
"""Templates that bring no call into the prompt, however it is given."""
BARE = {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"}


class Generation(Extension):
    """Lets what is between the marks of training data through, as Hugging Face's own extension does."""

    tags = MARKS

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_through"), [], [], body).set_lineno(line)

    def _through(self, caller: Any) -> Any:
        return caller()


def reference(source: str, messages: list[dict[str, Any]], **more: Any) -> str:
    """What `transformers.utils.chat_template_utils` makes of a template."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators)

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    given = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>", **more}
    return environment.from_string(source).render(messages=messages, add_generation_prompt=True, **given)


def message(turn: Turn, content: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.thinking:
        said |= {"reasoning_content": turn.thinking, "thinking": turn.thinking}
    if turn.tool_calls:
        called = {"name": "get_weather", "arguments": ARGUMENTS}
        said["tool_calls"] = [{"id": "abcdef123", "type": "function", "function": called}]
    if turn.role == "tool":
        said |= {"name": "get_weather", "tool_call_id": "abcdef123"}
    return said


def ours(source: str, turns: list[Turn], think: bool | None = None, tools: list[Any] | None = None) -> str:
    functions = json.dumps(tools) if tools else ""
    return renderer_for(None, ModelTemplate(source, "<s>", "</s>"), think, functions=functions)(turns)


def test_there_are_enough_families() -> None:
    assert len(TEMPLATES) >= 15


@pytest.mark.parametrize("name", TEMPLATES)
def test_messages_and_thoughts(name: str) -> None:
    source, messages = TEMPLATES[name], [message(turn, turn.content) for turn in TALKED]
    assert ours(source, TALKED) == reference(source, messages)
    for think in (True, False):
        told = reference(source, messages, enable_thinking=think, thinking=think)
        assert ours(source, TALKED, think) == told
    assert "Be kind." in ours(source, TALKED)


@pytest.mark.parametrize("name", TEMPLATES)
def test_tools_and_calls(name: str) -> None:
    source = TEMPLATES[name]
    extra = {"xml_tools": [TOOL]} if "xml_tools" in source else {}
    asked = reference(source, [message(turn, turn.content) for turn in ASKED], tools=[TOOL], **extra)
    assert ours(source, ASKED, tools=[TOOL]) == asked
    answered = ours(source, ANSWERED, tools=[TOOL])
    assert "22 degrees" in answered
    assert "Zürich" in answered.partition("How is the weather in Zürich?")[2]
    if name not in NO_CALLS:
        messages = [message(turn, turn.content) for turn in ANSWERED]
        assert answered == reference(source, messages, tools=[TOOL], **extra)
