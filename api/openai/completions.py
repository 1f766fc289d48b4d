"""`POST /v1/completions`, the older route for prompts without a conversation (spec b.3)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.replies import logprob_object
from corral.api.openai.body import TextBody
from corral.api.openai.checks import check, check_top_logprobs, refusals
from corral.api.openai.choices import caller_of, check_n, collect, options_of, side_by_side
from corral.api.openai.completion import Warnings, finish_reason
from corral.api.openai.sse import SSE, event
from corral.api.openai.usage import sum_of_choices, usage_object
from corral.api.reply import json_reply, without_empty
from corral.api.stream import respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import Caller, Chunk, GenerateRequest, Logprob, Stats


class CompletionBody(TextBody):
    """`POST /v1/completions`. A list of prompts, `n` and `echo` are OpenAI's; Ollama takes one text and gives one."""

    go_name: ClassVar[str] = "CompletionRequest"
    prompt: Any = None
    suffix: str = ""
    n: int = 1
    best_of: int | None = None
    echo: bool = False
    logprobs: int = 0

    def to_prompts(self) -> tuple[str, ...]:
        """Return the prompts. Raises RequestRefused where they are no texts."""
        if self.prompt is None or isinstance(self.prompt, str):
            return (self.prompt or "",)
        if isinstance(self.prompt, list) and self.prompt and all(isinstance(one, str) for one in self.prompt):
            return tuple(self.prompt)
        raise RequestRefused("prompt must be a text or a list of texts; token ids are not taken")

    def to_stops(self) -> list[str] | None:
        """Return the texts that end an answer. Raises RequestRefused for what is no text."""
        for one in self.stop if isinstance(self.stop, list) else []:
            if not isinstance(one, str):
                kind = {bool: "bool", int: "float64", float: "float64"}.get(type(one), "object")
                raise RequestRefused(f"invalid type for 'stop' field: {kind}")
        return super().to_stops()

    def to_requests(self, who: Caller) -> list[GenerateRequest]:
        """Return the verbs' requests: `n` for each prompt, in the order of their prompts."""
        options = self.to_options()
        return [
            GenerateRequest(
                model=self.model,
                prompt=prompt,
                suffix=self.suffix,
                options=options_of(options, at),
                keep_alive_s=parse_keep_alive(self.keep_alive),
                caller=caller_of(who, index * self.n + at),
                logprobs=self.logprobs > 0,
                top_logprobs=self.logprobs,
                think=self.to_think(),
            )
            for index, prompt in enumerate(self.to_prompts())
            for at in range(self.n)
        ]


async def completions(request: web.Request) -> web.StreamResponse:
    """Complete prompts."""
    body = await read_json(request, CompletionBody, missing="EOF")
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    await check(client, body.model, lambda: _check(body))
    who = caller(request, body.model)
    verbs = body.to_requests(who)
    pieces = side_by_side([client.generate(verb) for verb in verbs])
    told = TextCompletion(f"cmpl-{who.request_id}", int(time.time()), body)
    with refusals(body.model):
        if not body.stream:
            return json_reply(told.whole(await collect(pieces, len(verbs))), charset=False)
        return await respond(request, SSE, _events(told, pieces), lambda one: (event(one),))


def _check(body: CompletionBody) -> None:
    check_n(body.n, len(body.to_prompts()))
    check_top_logprobs(body.logprobs)
    body.to_options()
    body.to_think()
    if body.best_of is not None and body.best_of != body.n:
        raise RequestRefused("best_of other than n is not supported")
    if body.echo and body.logprobs:
        raise RequestRefused("echo together with logprobs is not supported")


async def _events(
    told: TextCompletion, pieces: AsyncGenerator[tuple[int, Chunk], None]
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(pieces):
        async for index, chunk in pieces:
            for one in told.events(index, chunk):
                yield one


class TextCompletion:
    """The answers to one request, whole or piece by piece."""

    def __init__(self, completion_id: str, created: int, body: CompletionBody) -> None:
        self._shared = {
            "id": completion_id,
            "object": "text_completion",
            "created": created,
            "model": body.model,
            "system_fingerprint": "fp_ollama",
        }
        self._usage = body.stream_options.include_usage
        self._warnings = Warnings()
        self._per_prompt = body.n
        echoed = [prompt if body.echo else "" for prompt in body.to_prompts() for _ in range(body.n)]
        self._unsaid = echoed
        self._lengths = [0] * len(echoed)
        self._stats: dict[int, Stats] = {}

    def whole(self, answers: Sequence[Chunk]) -> dict[str, Any]:
        """Return all answers as one object."""
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        reply = {**self._shared, "choices": choices, "usage": self._sum([answer.stats for answer in answers])}
        return reply | self._warnings.new(*answers)

    def events(self, index: int, chunk: Chunk) -> Iterator[dict[str, Any]]:
        """Yield a piece of one answer as chunks; after the last one of all comes the usage."""
        if not (chunk.text or chunk.logprobs or chunk.done_reason):
            return
        said = {**self._shared, "choices": [self._choice(index, chunk)]}
        if self._usage:
            said["usage"] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if chunk.done_reason is None:
            yield said
            return
        self._stats[index] = chunk.stats
        yield said | self._warnings.new(chunk)
        if self._usage and len(self._stats) == len(self._lengths):
            stats = [self._stats[at] for at in range(len(self._lengths))]
            yield {**self._shared, "choices": [], "usage": self._sum(stats)}

    def _choice(self, index: int, chunk: Chunk) -> dict[str, Any]:
        text, self._unsaid[index] = self._unsaid[index] + chunk.text, ""
        offset = self._lengths[index]
        self._lengths[index] += len(text)
        finish = None if chunk.done_reason is None else finish_reason(chunk.done_reason)
        choice: dict[str, Any] = {"text": text, "index": index, "finish_reason": finish}
        return choice | without_empty(logprobs=_logprobs(chunk.logprobs, offset))

    def _sum(self, stats: Sequence[Stats]) -> dict[str, Any]:
        return usage_object(sum_of_choices(stats, self._per_prompt))


def _logprobs(told: Sequence[Logprob], offset: int) -> dict[str, Any]:
    """Return log probabilities in the form of OpenAI's old route, and `content` as Ollama has it there."""
    if not told:
        return {}
    offsets = []
    for one in told:
        offsets.append(offset)
        offset += len(one.token)
    return {
        "tokens": [one.token for one in told],
        "token_logprobs": [one.logprob for one in told],
        "top_logprobs": [{other.token: other.logprob for other in one.top} for one in told],
        "text_offset": offsets,
        "content": [{"top_logprobs": [], **logprob_object(one)} for one in told],
    }
