"""What a server of OpenAI's API sends, as types, and its way to the verbs' chunks.

Tolerant: every field may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from corral.runtime.errors import RemoteFailed
from corral.runtime.verbs import Chunk, DoneReason, Logprob, Stats, ToolCall

MOST_CALLS = 256


class _CachedTokens(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an answer took, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    total_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None
    completion_tokens_details: _CachedTokens | None = None


class Timings(msgspec.Struct, frozen=True):
    """Where the time went, as llama.cpp's server tells it, in milliseconds."""

    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    cache_n: int = 0
    draft_n: int = 0
    draft_n_accepted: int = 0


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[_Token] | None = None

    def to_logprob(self) -> Logprob:
        data = self.token.encode() if self.bytes is None else bytes(one & 0xFF for one in self.bytes)
        return Logprob(self.token, self.logprob, data, tuple(one.to_logprob() for one in self.top_logprobs or ()))


class _ChatLogprobs(msgspec.Struct, frozen=True):
    content: list[_Token] | None = None

    def each(self) -> tuple[Logprob, ...]:
        return tuple(one.to_logprob() for one in self.content or ())


class _TextLogprobs(msgspec.Struct, frozen=True):
    """As `/v1/completions` has them; llama.cpp's server sends those of a chat there."""

    content: list[_Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def each(self) -> tuple[Logprob, ...]:
        if self.content is not None:
            return tuple(one.to_logprob() for one in self.content)
        tokens, values = self.tokens or [], self.token_logprobs or []
        tops = self.top_logprobs or [None] * len(tokens)
        return tuple(
            _text_logprob(token, value or 0.0, tuple(_text_logprob(*one) for one in (top or {}).items()))
            for token, value, top in zip(tokens, values, tops, strict=False)
        )


def _text_logprob(token: str, value: float, top: tuple[Logprob, ...] = ()) -> Logprob:
    return Logprob(token, value, token.encode(), top)


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _ChatChoice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None
    logprobs: _ChatLogprobs | None = None


class _TextChoice(msgspec.Struct, frozen=True):
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _TextLogprobs | None = None

    @property
    def delta(self) -> _Delta:
        return _Delta(self.text)


class ChatEvent(msgspec.Struct, frozen=True):
    """An event of `/v1/chat/completions`."""

    choices: list[_ChatChoice] | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    error: msgspec.Raw | None = None


class CompletionEvent(msgspec.Struct, frozen=True):
    """An event of `/v1/completions`."""

    choices: list[_TextChoice] | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    error: msgspec.Raw | None = None


class _Vector(msgspec.Struct, frozen=True):
    index: int = 0
    embedding: list[float] = []


class EmbeddingsReply(msgspec.Struct, frozen=True):
    """The reply of `/v1/embeddings`."""

    data: list[_Vector] = []
    usage: Usage = Usage()


class _Score(msgspec.Struct, frozen=True):
    index: int = 0
    relevance_score: float = 0.0


class RankingReply(msgspec.Struct, frozen=True):
    """The reply of `/v1/rerank`."""

    results: list[_Score] = []
    usage: Usage = Usage()


class TemplateReply(msgspec.Struct, frozen=True):
    """The reply of llama.cpp's `/apply-template`."""

    prompt: str = ""


class TokenizeReply(msgspec.Struct, frozen=True):
    """The reply of `/tokenize`, of llama.cpp's server and of vLLM."""

    tokens: list[int]


class DetokenizeReply(msgspec.Struct, frozen=True):
    """The reply of `/detokenize`: llama.cpp's server calls the text `content`, vLLM `prompt`."""

    content: str = ""
    prompt: str = ""


class Reader:
    """Makes the chunks of one answer; `clock` is in nanoseconds. A tool call comes out once it is whole."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._began = clock()
        self._first = 0
        self._last = 0
        self._chunks = 0
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._usage = Usage()
        self._timings: Timings | None = None
        self._reason = ""

    @property
    def finished(self) -> bool:
        """Whether the server said why the answer ended."""
        return bool(self._reason)

    def read(self, event: ChatEvent | CompletionEvent) -> Iterator[Chunk]:
        """Yield what an event says."""
        self._usage = event.usage or self._usage
        self._timings = event.timings or self._timings
        for choice in (event.choices or ())[:1]:
            delta = choice.delta
            text, thinking = delta.content or "", delta.reasoning_content or delta.reasoning or ""
            logprobs = choice.logprobs.each() if choice.logprobs is not None else ()
            for call in delta.tool_calls or ():
                self._collect(call)
            if text or thinking or logprobs or delta.tool_calls:
                self._last = self._clock()
                self._first = self._first or self._last
                self._chunks += 1
            if text or thinking or logprobs:
                yield Chunk(text=text, thinking=thinking, logprobs=logprobs)
            self._reason = choice.finish_reason or self._reason

    def _collect(self, call: _Call) -> None:
        if call.index not in self._calls and len(self._calls) >= MOST_CALLS:
            raise RemoteFailed("the server calls too many tools at once", 502)
        known_id, name, arguments = self._calls.get(call.index, ("", "", []))
        given = call.function.arguments
        arguments.append(given if isinstance(given, str) else json.dumps(given) if given else "")
        self._calls[call.index] = (call.id or known_id, name or call.function.name or "", arguments)

    def end(self, warnings: tuple[str, ...]) -> Iterator[Chunk]:
        """Yield the calls and the last chunk. Raises RemoteFailed where a call's arguments are no JSON object."""
        if self._calls:
            yield Chunk(tool_calls=tuple(_whole(*self._calls[index]) for index in sorted(self._calls)))
        yield Chunk(
            done_reason=DoneReason.LENGTH if self._reason == "length" else DoneReason.STOP,
            stats=self._stats(),
            warnings=warnings,
        )

    def _stats(self) -> Stats:
        usage, timings = self._usage, self._timings
        prompt, output = usage.prompt_tokens_details, usage.completion_tokens_details
        first = self._first or self._clock()
        return Stats(
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=(prompt.cached_tokens if prompt else 0) or (timings.cache_n if timings else 0),
            prompt_ns=int(timings.prompt_ms * 1e6) if timings else first - self._began,
            output_tokens=usage.completion_tokens or self._chunks,
            output_ns=int(timings.predicted_ms * 1e6) if timings else max(0, self._last - first),
            drafted=timings.draft_n if timings else 0,
            accepted=timings.draft_n_accepted if timings else 0,
            thinking_tokens=(output.reasoning_tokens if output else 0) or 0,
        )


def _whole(call_id: str, name: str, arguments: list[str]) -> ToolCall:
    try:
        read = json.loads("".join(arguments) or "{}")
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise RemoteFailed(f"the server calls {name!r} with arguments that are no JSON object", 502)
    return ToolCall(name, read, call_id)
