"""`POST /v1/chat/completions` (spec b.2)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import Problem, RequestRefused, openai_body
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.generate import collect
from corral.api.ollama.replies import logprob_object
from corral.api.openai.checks import check_chat_completion
from corral.api.openai.schemas import ChatCompletionBody
from corral.api.reply import encode, json_reply, without_empty
from corral.api.stream import Wire, respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import ChatRequest, Chunk, Message, PromptProgress, Stats
from corral.store.errors import ModelNotFound


def _event(value: object) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def _error_event(problem: Problem) -> bytes:
    return _event(openai_body(problem))


SSE = Wire(
    "text/event-stream",
    _error_event,
    {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    end=b"data: [DONE]\n\n",
)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Continue a conversation."""
    body = await read_json(request, ChatCompletionBody, missing="EOF")
    if not body.messages:
        raise RequestRefused("[] is too short - 'messages'")
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    await check_chat_completion(client, body)
    messages: list[Message] = [part for message in body.messages for part in message.to_messages()]
    if not messages:
        raise RequestRefused("invalid message format")
    who = caller(request, body.model)
    verb = ChatRequest(
        model=body.model,
        messages=tuple(messages),
        options=body.to_options(),
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=who,
        format=body.to_format(),
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs,
        progress=body.stream and body.return_progress,
        think=body.to_think(),
    )
    completion = Completion(f"chatcmpl-{who.request_id}", body.model, int(time.time()))
    try:
        return await _answer(request, body, completion, client.chat(verb))
    except ModelNotFound:
        raise RequestRefused(f"model '{body.model}' not found", 404) from None


async def _answer(
    request: web.Request, body: ChatCompletionBody, completion: Completion, chunks: AsyncGenerator[Chunk, None]
) -> web.StreamResponse:
    if not body.stream:
        return json_reply(completion.whole(await collect(chunks)), charset=False)
    usage = body.stream_options.include_usage
    return await respond(request, SSE, _events(completion, chunks, usage=usage), lambda event: (_event(event),))


async def _events(
    completion: Completion, chunks: AsyncGenerator[Chunk, None], *, usage: bool
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for event in completion.events(chunk, usage=usage):
                yield event


class Completion:
    """One answer in OpenAI's form: what its pieces share, and whether one was sent already."""

    def __init__(self, completion_id: str, model: str, created: int) -> None:
        self._shared = {"id": completion_id, "created": created, "model": model, "system_fingerprint": "fp_ollama"}
        self._begun = False

    def whole(self, answer: Chunk) -> dict[str, Any]:
        """Return the answer as one object."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text} | without_empty(reasoning=answer.thinking),
            "finish_reason": str(answer.done_reason or "stop"),
            **_logprobs(answer),
        }
        reply: dict[str, Any] = {"object": "chat.completion", **self._shared, "choices": [choice]}
        reply["usage"] = _usage(answer.stats)
        if answer.warnings:
            reply["warnings"] = list(answer.warnings)
        return reply

    def events(self, chunk: Chunk, *, usage: bool) -> Iterator[dict[str, Any]]:
        """Yield a piece as chunks: the role with the first, then thoughts and texts, then the finish, then the usage.

        How far the prompt is comes before, in the form of llama.cpp's server; how far a load is has none.
        """
        if chunk.progress is not None:
            if isinstance(chunk.progress, PromptProgress):
                delta = {"role": "assistant", "content": None}
                told = self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])
                yield told | {"prompt_progress": _prompt_progress(chunk.progress)}
            return
        if chunk.thinking:
            logprobs = {} if chunk.text else _logprobs(chunk)
            yield self._said({"content": "", "reasoning": chunk.thinking}, logprobs)
        if chunk.text or (chunk.logprobs and not chunk.thinking) or not self._begun:
            yield self._said({"content": chunk.text}, _logprobs(chunk))
        if chunk.done_reason is None:
            return
        finish = self._chunk([{"index": 0, "delta": {}, "finish_reason": str(chunk.done_reason)}])
        if chunk.warnings:
            finish["warnings"] = list(chunk.warnings)
        yield finish
        if usage:
            yield self._chunk([]) | {"usage": _usage(chunk.stats)}

    def _said(self, delta: dict[str, Any], logprobs: dict[str, Any]) -> dict[str, Any]:
        """Return new text as a chunk; the first one says whose it is."""
        role = {} if self._begun else {"role": "assistant"}
        self._begun = True
        return self._chunk([{"index": 0, "delta": role | delta, "finish_reason": None, **logprobs}])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "chat.completion.chunk", **self._shared, "choices": choices}


def _logprobs(chunk: Chunk) -> dict[str, Any]:
    """Return a choice's log probabilities; clients read `top_logprobs` of each token, asked for or not."""
    content = [{"top_logprobs": [], **logprob_object(one)} for one in chunk.logprobs]
    return {"logprobs": {"content": content}} if content else {}


def _prompt_progress(progress: PromptProgress) -> dict[str, int]:
    return {
        "total": progress.total,
        "cache": progress.cached,
        "processed": progress.done,
        "time_ms": progress.elapsed_ns // 1_000_000,
    }


def _usage(stats: Stats) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.output_tokens,
        "total_tokens": stats.prompt_tokens + stats.output_tokens,
        "prompt_tokens_details": {"cached_tokens": stats.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": stats.thinking_tokens},
    }
    if stats.drafted:
        usage["completion_tokens_details"] = {
            "accepted_prediction_tokens": stats.accepted,
            "rejected_prediction_tokens": stats.drafted - stats.accepted,
        }
    return usage
