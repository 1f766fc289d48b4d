"""What a conversation is made of: messages, what they show, and the tools a model may call."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class ToolCall(msgspec.Struct, frozen=True):
    """A function the model wants called; `arguments` by name. `id` is what its result refers to."""

    name: str
    arguments: Mapping[str, object] = msgspec.field(default_factory=dict)
    id: str = ""


class ToolChoice(StrEnum):
    """Whether the model calls tools: never, as it likes, or at least one."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


class Tools(msgspec.Struct, frozen=True):
    """The tools a model may call.

    `functions` are as clients send them: objects with `type` and `function`, this with `name`, `description` and
    `parameters` (a JSON Schema). With `only` the model may call no other one; `parallel` allows several calls in one
    answer.
    """

    functions: tuple[Mapping[str, object], ...] = ()
    choice: ToolChoice = ToolChoice.AUTO
    only: str = ""
    parallel: bool = True


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation; `role` is system, user, assistant or tool.

    `thinking` is what an assistant thought before its answer; whether the model sees it again is its template's matter.
    `images` are files as they came. An assistant's message may have `tool_calls`; a tool's says by `tool_name` and
    `tool_call_id` which call it answers.
    """

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""
