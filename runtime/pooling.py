"""The verbs whose texts go to a runner whole and come back as numbers: embed and rerank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from corral.runtime.dispatch import Cancellation, Dispatch, ignored
from corral.runtime.engine import protocol
from corral.runtime.errors import NotSupported
from corral.runtime.library import ModelOnDisk
from corral.runtime.remote.answers import RemoteAnswers
from corral.runtime.runner import Runner
from corral.runtime.snapshot import RequestState
from corral.runtime.vectors import unpack
from corral.runtime.verbs import Caller, Embeddings, EmbedRequest, Ranking, RerankRequest, Stats

Part = TypeVar("Part", protocol.Embedded, protocol.Ranked)

MOST_TEXTS = 256
"""Texts in one message to a runner: a message has its bounds."""


class Pooling:
    """Answers embed and rerank. Owned by the service loop."""

    def __init__(self, dispatch: Dispatch, remotes: RemoteAnswers | None = None) -> None:
        """`remotes` answers for models whose engine is elsewhere."""
        self._dispatch = dispatch
        self._remotes = remotes or RemoteAnswers(dispatch, None)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors; see `verbs.Client.embed`."""

        async def ask(runner: Runner, num_ctx: int) -> list[protocol.Embedded]:
            make = partial(protocol.Embed, num_ctx=num_ctx, truncate=self._truncates(request))
            return [
                await runner.ask(partial(make, texts=texts), protocol.Embedded) for texts in _in_parts(request.texts)
            ]

        async with self._opened(request, "embed") as (caller, model):
            if model.remote is not None:
                return await self._remotes.embed(caller, model, request)
            parts, stats = await self._answer(request, caller, model, "embed", ask)
        vectors = tuple(unpack(vector, request.dimensions) for part in parts for vector in part.vectors)
        return Embeddings(vectors, stats, _warnings(request, parts))

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents against a query; see `verbs.Client.rerank`."""

        async def ask(runner: Runner, num_ctx: int) -> list[protocol.Ranked]:
            make = partial(protocol.Rank, query=request.query, num_ctx=num_ctx, truncate=self._truncates(request))
            return [
                await runner.ask(partial(make, documents=texts), protocol.Ranked)
                for texts in _in_parts(request.documents)
            ]

        async with self._opened(request, "rerank") as (caller, model):
            if model.remote is not None:
                return await self._remotes.rerank(caller, model, request)
            parts, stats = await self._answer(request, caller, model, "rerank", ask)
        scores = tuple(score for part in parts for score in part.scores)
        return Ranking(scores, stats, _warnings(request, parts))

    def _truncates(self, request: EmbedRequest | RerankRequest) -> bool:
        return request.truncate and not self._dispatch.settings.strict

    @asynccontextmanager
    async def _opened(
        self, request: EmbedRequest | RerankRequest, verb: str
    ) -> AsyncIterator[tuple[Caller, ModelOnDisk]]:
        """Frame a request by its row, with its model read."""
        caller = self._dispatch.caller(request.caller, verb)
        with self._dispatch.row(caller, request.model):
            yield caller, await self._dispatch.open(request.model)

    async def _answer(
        self,
        request: EmbedRequest | RerankRequest,
        caller: Caller,
        model: ModelOnDisk,
        verb: str,
        ask: Callable[[Runner, int], Awaitable[list[Part]]],
    ) -> tuple[list[Part], Stats]:
        """Hold the model for as long as `ask` needs it; `ask` gets the runner and the context in tokens."""
        dispatch = self._dispatch
        row = caller.request_id
        _check(model, request, verb)
        dispatch.refuse(_passed_over(request))
        wanted = dispatch.wanted(model, {**model.parameters, **request.options})
        keep_alive_s = dispatch.keep_alive_s(request.keep_alive_s, model)
        began = dispatch.clock()
        cancellation = Cancellation()
        dispatch.requests.begin(caller, model.shown, cancellation.cancel)
        dispatch.requests.update(row, state=RequestState.WAITING)
        async with AsyncExitStack() as stack:
            held = dispatch.scheduler.lease(wanted, keep_alive_s, caller.priority, caller.request_id)
            lease = await cancellation.guard(stack.enter_async_context(held))
            dispatch.requests.update(row, state=RequestState.PREFILL)
            parts = await cancellation.guard(ask(lease.runner, wanted.load.num_ctx))
        stats = Stats(
            total_ns=int((dispatch.clock() - began) * 1e9),
            load_ns=lease.load_ns,
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            prompt_ns=sum(part.prompt_ns for part in parts),
        )
        tokens = stats.prompt_tokens
        dispatch.requests.update(row, prompt_tokens=tokens, prompt_done=tokens, warnings=_warnings(request, parts))
        return parts, stats


def _check(model: ModelOnDisk, request: EmbedRequest | RerankRequest, verb: str) -> None:
    ranks = "rerank" in model.capabilities
    if ranks != isinstance(request, RerankRequest):
        raise NotSupported(f'"{request.model}" does not support {verb}')
    # llama.cpp would take the first of the hidden values for a score.
    if ranks and not any(tensor.name.startswith("cls.") for tensor in model.header.tensors):
        raise NotSupported(
            f'"{request.model}" cannot rerank: its file lacks the classification head (cls.output.weight); '
            "use one that was converted as a reranker"
        )


def _in_parts(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), MOST_TEXTS):
        yield list(texts[start : start + MOST_TEXTS])


def _passed_over(request: EmbedRequest | RerankRequest) -> tuple[str, ...]:
    return (request.caller.warnings if request.caller else ()) + ignored(request.options)


def _warnings(
    request: EmbedRequest | RerankRequest, parts: Sequence[protocol.Embedded | protocol.Ranked]
) -> tuple[str, ...]:
    warnings = _passed_over(request)
    if cut := sum(part.cut for part in parts):
        texts = len(request.texts) if isinstance(request, EmbedRequest) else len(request.documents)
        what = "texts" if isinstance(request, EmbedRequest) else "documents"
        warnings += (f"{cut} of {texts} {what} were longer than the context and were cut at their end",)
    return warnings
