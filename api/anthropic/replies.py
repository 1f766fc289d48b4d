"""What the Anthropic-compatible API answers with: an answer as one message, or as its events (spec c)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

from corral.api.reply import encode, without_empty
from corral.runtime.verbs import Chunk, DoneReason, PromptProgress, Stats, ToolCall


class Event(NamedTuple):
    """One event of a stream; its data repeat its name as their `type`."""

    name: str
    fields: dict[str, Any]

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        return b"event: " + self.name.encode() + b"\ndata: " + encode({"type": self.name} | self.fields) + b"\n\n"


class Answer:
    """One answer in Anthropic's form. `left_out` are warnings of what the request held and the model never saw.

    As a stream it has one block open at a time: thoughts, then text, then a block for each call of a tool.
    """

    def __init__(self, message_id: str, model: str, left_out: tuple[str, ...] = ()) -> None:
        self._id = message_id
        self._model = model
        self._left_out = left_out
        self._begun = False
        self._pinged = False
        self._open = ""
        self._index = -1
        self._calls = False

    def whole(self, answer: Chunk) -> dict[str, Any]:
        """Return the answer as one message."""
        content: list[dict[str, Any]] = []
        if answer.thinking:
            content.append({"type": "thinking", "thinking": answer.thinking, "signature": self._id})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        content += [{**_use(call), "input": dict(call.arguments)} for call in answer.tool_calls]
        self._calls = bool(answer.tool_calls)
        message = self._message(_usage(answer.stats)) | {"content": content} | self._stop(answer)
        return message | self._warnings(answer)

    def events(self, chunk: Chunk) -> Iterator[Event]:
        """Yield the events of a piece. How far the prompt is begins the message; after that it is a sign of life."""
        if chunk.progress is not None:
            if isinstance(chunk.progress, PromptProgress):
                yield from self._wait(chunk.progress)
            return
        if chunk.thinking:
            yield from self._say("thinking", chunk.thinking)
        if chunk.text:
            yield from self._say("text", chunk.text)
        for call in chunk.tool_calls:
            yield from self._call(call)
        if chunk.done_reason is not None:
            yield from self._begin({"input_tokens": 0, "output_tokens": 0})
            yield from self._close()
            delta = {"delta": self._stop(chunk), "usage": _usage(chunk.stats)}
            yield Event("message_delta", delta | self._warnings(chunk))
            yield Event("message_stop", {})

    def _wait(self, progress: PromptProgress) -> Iterator[Event]:
        if self._begun:
            yield Event("ping", {})
        else:
            stats = Stats(prompt_tokens=progress.total, cached_tokens=progress.cached)
            yield from self._begin(_usage(stats))

    def _begin(self, usage: dict[str, Any]) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            message = self._message(usage) | {"content": [], "stop_reason": None, "stop_sequence": None}
            yield Event("message_start", {"message": message})

    def _start_block(self, block: dict[str, Any]) -> Iterator[Event]:
        yield from self._begin({"input_tokens": 0, "output_tokens": 0})
        yield from self._close()
        self._open = block["type"]
        self._index += 1
        yield Event("content_block_start", {"index": self._index, "content_block": block})
        if not self._pinged:
            self._pinged = True
            yield Event("ping", {})

    def _say(self, kind: str, text: str) -> Iterator[Event]:
        if self._open != kind:
            signature = {"signature": ""} if kind == "thinking" else {}
            yield from self._start_block({"type": kind, kind: "", **signature})
        yield self._delta({"type": f"{kind}_delta", kind: text})

    def _call(self, call: ToolCall) -> Iterator[Event]:
        self._calls = True
        yield from self._start_block({**_use(call), "input": {}})
        yield self._delta({"type": "input_json_delta", "partial_json": encode(dict(call.arguments)).decode()})
        yield from self._close()

    def _close(self) -> Iterator[Event]:
        if not self._open:
            return
        if self._open == "thinking":
            # Clients keep thoughts that are signed, and send them back; here nobody checks.
            yield self._delta({"type": "signature_delta", "signature": self._id})
        self._open = ""
        yield Event("content_block_stop", {"index": self._index})

    def _delta(self, delta: dict[str, Any]) -> Event:
        return Event("content_block_delta", {"index": self._index, "delta": delta})

    def _message(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {"id": self._id, "type": "message", "role": "assistant", "model": self._model, "usage": usage}

    def _stop(self, last: Chunk) -> dict[str, Any]:
        if self._calls:
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if last.done_reason is DoneReason.LENGTH:
            return {"stop_reason": "max_tokens", "stop_sequence": None}
        return {"stop_reason": "stop_sequence" if last.stop else "end_turn", "stop_sequence": last.stop or None}

    def _warnings(self, last: Chunk) -> dict[str, Any]:
        return without_empty(warnings=[*self._left_out, *last.warnings])


def _use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id or f"toolu_{secrets.token_hex(12)}", "name": call.name}


def _usage(stats: Stats) -> dict[str, Any]:
    """Return the counts; what was found computed is not among Anthropic's input tokens."""
    usage: dict[str, Any] = {
        "input_tokens": stats.prompt_tokens - stats.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": stats.cached_tokens,
        "output_tokens": stats.output_tokens,
    }
    if stats.thinking_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": stats.thinking_tokens}
    return usage
