"""Server-sent events as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from corral.api.errors import Problem, openai_body
from corral.api.reply import encode
from corral.api.stream import Wire

CONTENT_TYPE: Final = "text/event-stream"
HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(value: object) -> bytes:
    """Write a nameless event."""
    return b"data: " + encode(value) + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """Write an event that is called as its `type`."""
    return b"event: " + str(value["type"]).encode() + b"\n" + event(value)


def _error_event(problem: Problem) -> bytes:
    return event(openai_body(problem))


SSE: Final = Wire(CONTENT_TYPE, _error_event, HEADERS, end=b"data: [DONE]\n\n")
"""Chunks of completions; an error in their middle is the last event (spec b.1)."""
