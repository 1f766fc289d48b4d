"""An answer as `/v1/responses` tells it: a row of events, each item opened, grown and closed, and the whole (b.6)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from corral.api.errors import Problem
from corral.api.ollama.replies import logprob_object
from corral.api.openai.responses_body import ResponsesBody
from corral.api.openai.tools import arguments_text, with_ids
from corral.api.reply import without_empty
from corral.runtime.verbs import Chunk, DoneReason, Logprob, Stats, ToolCall

Event = dict[str, Any]


class ResponseAnswer:
    """One answer, from its first piece to its end. `clock` is the wall clock in seconds."""

    def __init__(
        self, answer_id: str, created: int, body: ResponsesBody, clock: Callable[[], float] = time.time
    ) -> None:
        self._id = answer_id
        self._clock = clock
        self._reply = _unanswered(answer_id, created, body)
        self._warnings = body.warnings
        self._sent = 0
        self._begun = False
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        """Return the answer as it is by now."""
        return self._reply | {"output": list(self._output)}

    def events(self, chunk: Chunk) -> Iterator[Event]:
        """Yield what a piece of the answer adds: thoughts first, then text, then calls, then the end."""
        if chunk.progress is not None:
            return
        if not self._begun:
            self._begun = True
            yield self._event("response.created", response=self.whole())
            yield self._event("response.in_progress", response=self.whole())
        if chunk.thinking:
            yield from self._think(chunk.thinking)
        if chunk.text or (chunk.logprobs and not chunk.thinking):
            yield from self._say(chunk.text, chunk.logprobs)
        for call in with_ids(chunk.tool_calls):
            yield from self._close()
            yield from self._call(call)
        if chunk.done_reason is not None:
            items = [*self._output, self._open] if self._open is not None else self._output
            if all(item["type"] == "reasoning" for item in items):
                yield from self._say("", ())
            yield from self._close()
            yield self._end(chunk)

    def failed(self, problem: Problem) -> Event:
        """Return the event that ends an answer which broke off."""
        code = "server_error" if problem.status >= 500 else "invalid_prompt"
        self._reply |= {"status": "failed", "error": {"code": code, "message": problem.message}}
        return self._event("response.failed", response=self.whole())

    def _event(self, kind: str, **fields: Any) -> Event:
        numbered = {"type": kind, "sequence_number": self._sent, **fields}
        self._sent += 1
        return numbered

    def _of_item(self, kind: str, **fields: Any) -> Event:
        """Return an event about the item that is open."""
        assert self._open is not None
        return self._event(kind, item_id=self._open["id"], output_index=len(self._output), **fields)

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        self._open = item
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _finish(self, item: dict[str, Any]) -> Event:
        self._open = None
        self._output.append(item)
        return self._event("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _think(self, text: str) -> Iterator[Event]:
        if self._open is None:
            yield from self._begin({"id": f"rs_{self._item_id()}", "type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            yield self._of_item("response.reasoning_summary_part.added", summary_index=0, part=part)
        self._thoughts.append(text)
        yield self._of_item("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _say(self, text: str, logprobs: tuple[Logprob, ...]) -> Iterator[Event]:
        if self._open is not None and self._open["type"] == "reasoning":
            yield from self._close()
        if self._open is None:
            message = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
            yield from self._begin({"id": f"msg_{self._item_id()}", **message})
            yield self._of_item("response.content_part.added", content_index=0, part=_part("", []))
        told = [{"top_logprobs": [], **logprob_object(one)} for one in logprobs]
        self._texts.append(text)
        self._logprobs += told
        yield self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=told)

    def _call(self, call: ToolCall) -> Iterator[Event]:
        arguments = arguments_text(call)
        item = {"id": f"fc_{self._item_id()}", "type": "function_call", "status": "in_progress"}
        item |= {"call_id": call.id, "name": call.name, "arguments": ""}
        yield from self._begin(item)
        yield self._of_item("response.function_call_arguments.delta", delta=arguments)
        yield self._of_item("response.function_call_arguments.done", name=call.name, arguments=arguments)
        yield self._finish(item | {"status": "completed", "arguments": arguments})

    def _close(self) -> Iterator[Event]:
        """Yield the end of the item that is open."""
        if self._open is None:
            return
        item = self._open
        if item["type"] == "reasoning":
            text = "".join(self._thoughts)
            self._thoughts.clear()
            part = {"type": "summary_text", "text": text}
            yield self._of_item("response.reasoning_summary_text.done", summary_index=0, text=text)
            yield self._of_item("response.reasoning_summary_part.done", summary_index=0, part=part)
            yield self._finish(item | {"summary": [part], "encrypted_content": text})
            return
        text, logprobs = "".join(self._texts), list(self._logprobs)
        self._logprobs.clear()
        self._texts.clear()
        part = _part(text, logprobs)
        yield self._of_item("response.output_text.done", content_index=0, text=text, logprobs=logprobs)
        yield self._of_item("response.content_part.done", content_index=0, part=part)
        yield self._finish(item | {"status": "completed", "content": [part]})

    def _end(self, chunk: Chunk) -> Event:
        cut_off = chunk.done_reason is DoneReason.LENGTH
        self._reply |= {"status": "completed", "completed_at": int(self._clock()), "usage": _usage(chunk.stats)}
        if cut_off:
            self._reply |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        self._reply |= without_empty(warnings=[*chunk.warnings, *self._warnings])
        return self._event("response.incomplete" if cut_off else "response.completed", response=self.whole())

    def _item_id(self) -> str:
        return f"{self._id}{secrets.token_hex(4)}"


def _part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _usage(stats: Stats) -> dict[str, Any]:
    return {
        "input_tokens": stats.prompt_tokens,
        "input_tokens_details": {"cached_tokens": stats.cached_tokens},
        "output_tokens": stats.output_tokens,
        "output_tokens_details": {"reasoning_tokens": stats.thinking_tokens},
        "total_tokens": stats.prompt_tokens + stats.output_tokens,
    }


def _unanswered(answer_id: str, created: int, body: ResponsesBody) -> dict[str, Any]:
    """Return the reply to a request before anything of its answer is there: what was asked, said back."""
    options = body.to_options()
    reasoning = {"effort": body.effort or None, "summary": body.reasoning.summary or None}
    return {
        "id": f"resp_{answer_id}",
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "in_progress",
        "incomplete_details": None,
        "model": body.model,
        "previous_response_id": None,
        "instructions": body.instructions or None,
        "output": [],
        "error": None,
        "tools": body.tools,
        "tool_choice": body.tool_choice or "auto",
        "truncation": body.truncation or "disabled",
        "parallel_tool_calls": body.parallel_tool_calls,
        "text": {"format": body.text.format},
        "top_p": options["top_p"],
        "presence_penalty": options.get("presence_penalty", 0),
        "frequency_penalty": options.get("frequency_penalty", 0),
        "top_logprobs": body.top_logprobs,
        "temperature": options["temperature"],
        "reasoning": reasoning,
        "usage": None,
        "max_output_tokens": body.limit,
        "max_tool_calls": body.max_tool_calls,
        "store": False,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }
