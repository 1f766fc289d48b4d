"""`POST /v1/chat/completions` as it comes over the wire, and the messages of a conversation (spec b.2)."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec.structs import replace
from pydantic import Field

from corral.api.body import WireModel
from corral.api.errors import RequestRefused
from corral.api.images import image_of_url
from corral.api.openai.body import TextBody, format_of
from corral.api.openai.tools import calls_of, named_results, tools_of
from corral.runtime.verbs import Message, Tools


class OpenAIMessage(WireModel):
    """A message; `content` is a text or a list of parts, `reasoning` what was thought before it."""

    go_name: ClassVar[str] = "Message"
    role: str = ""
    content: Any = None
    reasoning: str = ""
    name: str = ""
    tool_calls: list[Any] = Field(default_factory=list)
    tool_call_id: str = ""

    def to_messages(self) -> list[Message]:
        """Return the message as the workbench takes it: each part one of the same role.

        Calls stand at the last one, since what was said came before.

        Raises:
            RequestRefused: a part that is no text, or a call that is none.
        """
        said = self._spoken()
        if self.role == "tool":
            said = [replace(one, tool_name=self.name, tool_call_id=self.tool_call_id) for one in said]
        calls = calls_of(self.tool_calls)
        return [*said[:-1], replace(said[-1], tool_calls=calls)] if calls else said

    def _spoken(self) -> list[Message]:
        if isinstance(self.content, str):
            return [Message(self.role, self.content, self.reasoning)]
        if not self.content and self.tool_calls:
            return [Message(self.role, "", self.reasoning)]
        if isinstance(self.content, list) and self.content:
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


class ChatCompletionBody(TextBody):
    """`POST /v1/chat/completions`.

    `return_progress` is llama.cpp's: it asks a stream to tell how far the prompt is.
    """

    go_name: ClassVar[str] = "ChatCompletionRequest"
    messages: list[OpenAIMessage] = Field(default_factory=list)
    max_completion_tokens: int | None = None
    n: int = 1
    tools: list[Any] = Field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    functions: list[Any] = Field(default_factory=list)
    function_call: Any = None
    response_format: dict[str, Any] = Field(default_factory=dict)
    modalities: list[Any] = Field(default_factory=list)
    logprobs: bool = False
    top_logprobs: int = 0
    return_progress: bool = False
    debug_render_only: bool = Field(default=False, alias="_debug_render_only")

    @property
    def limit(self) -> int | None:
        """The most tokens to make."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def to_messages(self) -> tuple[Message, ...]:
        """Return the conversation as the workbench takes it.

        Raises:
            RequestRefused: a message that is none.
        """
        return named_results(part for message in self.messages for part in message.to_messages())

    def to_tools(self) -> Tools:
        """Return what the model may call.

        Raises:
            RequestRefused: no tools, or the choice of none that is there.
        """
        if self.functions or self.function_call is not None:
            raise RequestRefused("functions and function_call are not supported: use tools and tool_choice")
        return tools_of(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)

    def to_format(self) -> str | dict[str, Any] | None:
        """Return what the answer must look like; see `format_of`."""
        described = self.response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        return format_of(self.response_format.get("type", "text"), schema, "response_format")
