"""The requests of the OpenAI-compatible API as they come over the wire (spec b.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field

from corral.api.body import WireModel
from corral.api.errors import RequestRefused
from corral.api.images import image_of_url
from corral.runtime.verbs import Message

EFFORTS: Final[Mapping[str, bool | str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
    "none": False,
}
"""What OpenAI's words for how hard to think are here (spec b.2)."""


class OpenAIMessage(WireModel):
    """A message; `content` is a text or a list of parts, `reasoning` what was thought before it."""

    go_name: ClassVar[str] = "Message"
    role: str = ""
    content: Any = None
    reasoning: str = ""
    tool_calls: list[Any] = Field(default_factory=list)

    def to_messages(self) -> list[Message]:
        """Return the message as the workbench takes it: each part one of the same role.

        Raises:
            RequestRefused: a part that is no text.
        """
        if isinstance(self.content, str):
            return [Message(self.role, self.content, self.reasoning)]
        if isinstance(self.content, list):
            parts = [_read_part(part) for part in self.content]
            return [
                Message(self.role, text, "" if at else self.reasoning, images)
                for at, (text, images) in enumerate(parts)
            ]
        if self.content is None:
            raise RequestRefused("invalid message content type: <nil>")
        raise RequestRefused("invalid message format")


def _read_part(part: object) -> tuple[str, tuple[bytes, ...]]:
    """Return a part's text, or its image. Raises RequestRefused."""
    if not isinstance(part, dict):
        raise RequestRefused("invalid message format")
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return text, ()
    if kind == "image_url":
        return "", (image_of_url(part.get("image_url")),)
    if kind == "input_audio":
        raise RequestRefused("audio input is not supported by this server yet")
    raise RequestRefused("invalid message format")


class StreamOptions(WireModel):
    """What a stream holds beside the answer."""

    go_name: ClassVar[str] = "StreamOptions"
    include_usage: bool = False


class Reasoning(WireModel):
    """How hard the model is to think."""

    go_name: ClassVar[str] = "Reasoning"
    effort: str = ""


class ChatCompletionBody(WireModel):
    """`POST /v1/chat/completions`.

    `num_ctx`, `keep_alive`, `options` and `think` are ours: Ollama passes them over (spec appendix C).
    `return_progress` is llama.cpp's: it asks a stream to tell how far the prompt is.
    """

    go_name: ClassVar[str] = "ChatCompletionRequest"
    model: str = ""
    messages: list[OpenAIMessage] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: Any = None
    logit_bias: dict[str, Any] | None = None

    num_ctx: int | None = None
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)
    think: Any = None
    return_progress: bool = False

    n: int = 1
    tools: list[Any] = Field(default_factory=list)
    functions: list[Any] = Field(default_factory=list)
    response_format: dict[str, Any] = Field(default_factory=dict)
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning_effort: str = ""
    reasoning: Reasoning = Reasoning()
    debug_render_only: bool = Field(default=False, alias="_debug_render_only")

    @property
    def effort(self) -> str:
        """How hard to think, in OpenAI's words; "" where nothing is said of it."""
        return self.reasoning.effort or self.reasoning_effort

    def to_think(self) -> bool | str | None:
        """Return whether to think, or how hard, as `verbs.ChatRequest` has it; OpenAI's own fields win."""
        if self.effort:
            return EFFORTS[self.effort]
        return None if self.think == "" else self.think

    def to_format(self) -> str | dict[str, Any] | None:
        """Return what the answer must look like, as `verbs.ChatRequest` has it.

        Raises:
            RequestRefused: a form that is not known, or a schema that is none.
        """
        kind = self.response_format.get("type", "text")
        if kind == "text":
            return None
        if kind == "json_object":
            return "json"
        if kind != "json_schema":
            raise RequestRefused(f"response_format of type {kind!r} is not known: text, json_object or json_schema")
        described = self.response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            raise RequestRefused("response_format.json_schema.schema must be a JSON Schema object")
        return schema

    def to_options(self) -> dict[str, Any]:
        """Return the generation options; the API's own fields win over `options`."""
        options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, **self.options}
        given = self.model_fields_set
        own = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "num_ctx", "logit_bias")
        for name in own:
            if name in given:
                options[name] = getattr(self, name)
        limit = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        if limit is not None:
            options["num_predict"] = limit
        if isinstance(self.stop, str):
            options["stop"] = [self.stop]
        elif isinstance(self.stop, list):
            options["stop"] = [text for text in self.stop if isinstance(text, str)]
        return options
