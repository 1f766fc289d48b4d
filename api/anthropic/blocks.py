"""From Anthropic's messages, made of blocks, to those of the workbench (spec c)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from corral.api.anthropic.schemas import WireMessage
from corral.api.errors import RequestRefused
from corral.runtime.verbs import Message, ToolCall

_ROLES: Final = ("user", "assistant", "system")
_BILLING: Final = "x-anthropic-billing-header:"
_SILENT: Final = frozenset({"redacted_thinking"})
"""Blocks that say nothing to any model but the one they came from."""


def read_conversation(system: object, messages: Sequence[WireMessage]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Return the messages with the system's first, and the types of the blocks that were left out.

    Raises:
        RequestRefused: a message that is malformed, or a picture that is not in the request itself.
    """
    reader = _Reader()
    if text := _system_text(system):
        reader.messages.append(Message("system", text))
    for number, message in enumerate(messages):
        reader.read(message, f"messages.{number}")
    return tuple(reader.messages), tuple(sorted(reader.left_out))


def _system_text(system: object) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    if not isinstance(system, list):
        raise RequestRefused("system: must be a text or a list of text blocks")
    texts = [_text_of(block, f"system.{number}") for number, block in enumerate(system)]
    # Claude Code's accounting, another number in each request: what follows it could never be found computed.
    return "".join(text for text in texts if not text.startswith(_BILLING))


@dataclass(slots=True)
class _Parts:
    """What the blocks of one message come to."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """Reads messages in order: a result is told with the name of the tool that its call had."""

    messages: list[Message] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def read(self, message: WireMessage, where: str) -> None:
        if message.role not in _ROLES:
            raise RequestRefused(f"{where}.role: must be user, assistant or system")
        if isinstance(message.content, str):
            self.messages.append(Message(message.role, message.content))
            return
        if not isinstance(message.content, list):
            raise RequestRefused(f"{where}.content: must be a text or a list of blocks")
        parts = _Parts()
        for number, block in enumerate(message.content):
            self._read_block(block, parts, f"{where}.content.{number}")
        # Results come before the user's words, whatever their order was: templates want them behind the call.
        self.messages += parts.results
        if parts.texts or parts.images or not parts.results:
            text, thoughts = "".join(parts.texts), "".join(parts.thoughts)
            self.messages.append(Message(message.role, text, thoughts, tuple(parts.images), tuple(parts.calls)))

    def _read_block(self, block: object, parts: _Parts, where: str) -> None:
        kind = _kind_of(block, where)
        assert isinstance(block, dict)
        match kind:
            case "text":
                parts.texts.append(_text_of(block, where))
            case "image":
                parts.images.append(_image_of(block, where))
            case "thinking":
                parts.thoughts.append(_string(block, "thinking", where))
            case "tool_use":
                parts.calls.append(self._call_of(block, where))
            case "tool_result":
                parts.results.append(self._result_of(block, where))
            case _ if kind not in _SILENT:
                self.left_out.add(kind)

    def _call_of(self, block: dict[str, Any], where: str) -> ToolCall:
        for name in ("id", "name"):
            if not block.get(name):
                raise RequestRefused(f"tool_use block missing required '{name}' field")
        call_id, name = _string(block, "id", where), _string(block, "name", where)
        given = block.get("input")
        if not isinstance(given, dict | None):
            raise RequestRefused(f"{where}.input: must be an object")
        self.names[call_id] = name
        return ToolCall(name, given or {}, call_id)

    def _result_of(self, block: dict[str, Any], where: str) -> Message:
        call_id = block.get("tool_use_id")
        if not isinstance(call_id, str) or not call_id:
            raise RequestRefused("tool_result block missing required 'tool_use_id' field")
        content = block.get("content")
        parts = _Parts()
        if isinstance(content, str):
            parts.texts.append(content)
        elif isinstance(content, list):
            for number, part in enumerate(content):
                self._read_result_part(part, parts, f"{where}.content.{number}")
        elif content is not None:
            raise RequestRefused(f"{where}.content: must be a text or a list of blocks")
        text = "".join(parts.texts)
        if block.get("is_error") and not text.lower().startswith("error"):
            text = f"Error: {text}" if text else "Error"
        return Message(
            "tool", text, images=tuple(parts.images), tool_name=self.names.get(call_id, ""), tool_call_id=call_id
        )

    def _read_result_part(self, part: object, parts: _Parts, where: str) -> None:
        kind = _kind_of(part, where)
        assert isinstance(part, dict)
        if kind == "text":
            parts.texts.append(_text_of(part, where))
        elif kind == "image":
            parts.images.append(_image_of(part, where))
        else:
            self.left_out.add(kind)


def _kind_of(block: object, where: str) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str) or not kind:
        raise RequestRefused(f"{where}: must be an object with a type")
    return kind


def _text_of(block: object, where: str) -> str:
    if _kind_of(block, where) != "text":
        raise RequestRefused(f"{where}: must be a text block")
    assert isinstance(block, dict)
    return _string(block, "text", where)


def _string(block: dict[str, Any], name: str, where: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise RequestRefused(f"{where}.{name}: must be a text")
    return value


def _image_of(block: dict[str, Any], where: str) -> bytes:
    source = block.get("source")
    if not isinstance(source, dict):
        raise RequestRefused(f"{where}.source: must be an object")
    kind = source.get("type")
    if kind != "base64":
        raise RequestRefused(f"{where}.source: only data: an image of type {kind!r} is not fetched, send it as base64")
    try:
        return base64.b64decode(_string(source, "data", where), validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused(f"{where}.source.data: is no base64") from None
