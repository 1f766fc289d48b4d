"""Answers for models whose engine is elsewhere: the least busy server is asked, and another where that one fails.

A request of which nothing has been answered yet is asked again, there or elsewhere; one that has begun to stream is
not: its client would read another answer's end behind the first one's beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import TypeVar

from msgspec.structs import replace

from corral.runtime.dispatch import Dispatch, ignored
from corral.runtime.errors import BadRequest, QueueFull, RequestCanceled, RunError, ServerUnreachable
from corral.runtime.library import ModelOnDisk
from corral.runtime.options import parse_options
from corral.runtime.remote.address import Remote
from corral.runtime.remote.allowed import Allowed
from corral.runtime.remote.failover import Search
from corral.runtime.remote.health import Hosts
from corral.runtime.remote.hosts import Connection
from corral.runtime.remote.in_use import InUse, Stub
from corral.runtime.remote.stopping import Stopping
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    Detokenized,
    DetokenizeRequest,
    DoneReason,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    Message,
    Ranking,
    RerankRequest,
    TokenizeRequest,
    Tokens,
)
from corral.store.errors import StoreError

Pooled = TypeVar("Pooled", Embeddings, Ranking)
Found = TypeVar("Found")

READ_OUT_S = 0.5
IDLE_S = 120.0
"""How long an answer that has begun may stand still."""
ROW_EVERY_S = 0.05


class RemoteAnswers:
    """Owned by the service loop. Without `hosts` there is no way to any server."""

    def __init__(self, dispatch: Dispatch, hosts: Hosts | None) -> None:
        self._dispatch = dispatch
        self._hosts = hosts
        settings = dispatch.settings
        self._allowed = Allowed(settings.remotes, settings.remotes_file, near_only=settings.no_cloud)
        self._first_s = max(settings.load_timeout_s, IDLE_S)
        self.in_use = InUse(hosts, dispatch.clock)

    async def close(self) -> None:
        """End every connection."""
        if self._hosts is not None:
            await self._hosts.close()

    # -- the verbs ----------------------------------------------------------------------------------------------

    def chat(self, caller: Caller, model: ModelOnDisk, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation; see `verbs.Client.chat`."""
        remote = self._check(caller, model)
        return self._stream(caller, model, remote, _chat_there(model, remote, request))

    def generate(self, caller: Caller, model: ModelOnDisk, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt; see `verbs.Client.generate`."""
        remote = self._check(caller, model)
        ours = not request.raw and bool(request.prompt)
        there = replace(
            request,
            model=remote.model,
            system=model.system if ours and request.system is None and model.system else request.system,
            template=model.template if ours and request.template is None else request.template,
            options=_options(model, request.options),
            caller=None,
        )
        return self._stream(caller, model, remote, there)

    async def embed(self, caller: Caller, model: ModelOnDisk, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors; see `verbs.Client.embed`."""
        remote = self._check(caller, model)
        there = replace(request, model=remote.model, options=_options(model, request.options), caller=None)
        return await self._pooled(caller, model, remote, lambda server: server.embed(there))

    async def rerank(self, caller: Caller, model: ModelOnDisk, request: RerankRequest) -> Ranking:
        """Score documents; see `verbs.Client.rerank`."""
        remote = self._check(caller, model)
        there = replace(request, model=remote.model, options=_options(model, request.options), caller=None)
        return await self._pooled(caller, model, remote, lambda server: server.rerank(there))

    async def tokenize(self, caller: Caller, model: ModelOnDisk, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return tokens; see `verbs.Client.tokenize`."""
        remote = self._check(caller, model)
        if isinstance(request, ChatRequest):
            there: TokenizeRequest | ChatRequest = _chat_there(model, remote, request)
        else:
            there = replace(request, model=remote.model, options=_options(model, request.options), caller=None)
        found, total_ns = await self._ask(caller, model, remote, lambda server: server.tokenize(there))
        return replace(found, total_ns=total_ns)

    async def detokenize(self, caller: Caller, model: ModelOnDisk, request: DetokenizeRequest) -> Detokenized:
        """Return a text; see `verbs.Client.detokenize`."""
        remote = self._check(caller, model)
        there = replace(request, model=remote.model, options=_options(model, request.options), caller=None)
        found, total_ns = await self._ask(caller, model, remote, lambda server: server.detokenize(there))
        return replace(found, total_ns=total_ns)

    def _check(self, caller: Caller, model: ModelOnDisk) -> Remote:
        """Refuse what may not be asked or not be forwarded."""
        remote = model.remote
        assert remote is not None
        self._allowed.check(remote)
        if caller.forwarded:
            raise BadRequest(f"{model.shown} has its engine elsewhere, and so has who asks: name that server there")
        if self._hosts is None:
            raise BadRequest("this server cannot run this remote model")
        waiting = self.in_use.waiting
        if waiting >= self._dispatch.settings.max_queue:
            raise QueueFull(waiting)
        return remote

    # -- streams ------------------------------------------------------------------------------------------------

    async def _stream(
        self, caller: Caller, model: ModelOnDisk, remote: Remote, request: ChatRequest | GenerateRequest
    ) -> AsyncGenerator[Chunk, None]:
        stopping = Stopping()
        began, row = self._dispatch.clock(), caller.request_id
        warnings = caller.warnings + ignored(request.options)
        self._dispatch.refuse(warnings)
        with self._counted(caller, model, remote, stopping) as stub:
            async with aclosing(self._attempts(stub, remote, request, stopping)) as chunks:
                tokens, first, followed = 0, 0.0, 0.0
                async for chunk in chunks:
                    now = self._dispatch.clock()
                    if chunk.done_reason is not None:
                        stub.let_go = chunk.done_reason is DoneReason.UNLOAD
                        yield self._ended(row, chunk, remote, warnings, total_ns=int((now - began) * 1e9))
                        return
                    if chunk.progress is None:
                        tokens += 1
                        stub.rate.add(1)
                        first = first or now
                    if now - followed >= ROW_EVERY_S and first:
                        followed = now
                        rate = (tokens - 1) / (now - first) if tokens > 1 and now > first else 0.0
                        self._dispatch.requests.update(
                            row, state=RequestState.DECODE, first_token_s=first, output_tokens=tokens, tokens_per_s=rate
                        )
                    yield chunk

    def _ended(self, row: str, chunk: Chunk, remote: Remote, warnings: tuple[str, ...], total_ns: int) -> Chunk:
        stats = chunk.stats
        self._dispatch.refuse(chunk.warnings)
        warnings += tuple(one for one in chunk.warnings if one not in warnings)
        self._dispatch.requests.update(
            row,
            warnings=warnings,
            prompt_tokens=stats.prompt_tokens,
            prompt_done=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            output_tokens=stats.output_tokens,
            tokens_per_s=stats.output_tokens / (stats.output_ns / 1e9) if stats.output_ns else 0.0,
            drafted=stats.drafted,
            accepted=stats.accepted,
        )
        return replace(
            chunk,
            stats=replace(stats, total_ns=total_ns),
            warnings=warnings,
            remote_host=remote.text,
            remote_model=remote.model,
        )

    async def _attempts(
        self, stub: Stub, remote: Remote, request: ChatRequest | GenerateRequest, stopping: Stopping
    ) -> AsyncGenerator[Chunk, None]:
        """Ask until a server answers; then its chunks, to their end."""
        search = self._search(remote, stopping)
        while True:
            host, begun = await search.next(), False
            try:
                with host.held():
                    server = host.connection
                    made = server.chat(request) if isinstance(request, ChatRequest) else server.generate(request)
                    async with aclosing(made) as chunks:
                        while True:
                            chunk = await stopping.wait(anext(chunks, None), IDLE_S if begun else self._first_s)
                            if chunk is None:
                                raise ServerUnreachable("the answer has no end")
                            if not begun and chunk.progress is None:
                                begun = True
                                stub.begun += 1
                                search.answered(host)
                            if chunk.done_reason is not None:
                                await _read_out(chunks)
                            yield chunk
                            if chunk.done_reason is not None:
                                return
            except (RunError, StoreError, TimeoutError) as error:
                if stopping.asked:
                    raise RequestCanceled from None
                search.failed(host, error, begun=begun)
            finally:
                stub.begun -= begun

    # -- one reply ----------------------------------------------------------------------------------------------

    async def _ask(
        self, caller: Caller, model: ModelOnDisk, remote: Remote, ask: Callable[[Connection], Awaitable[Found]]
    ) -> tuple[Found, int]:
        """Ask until a server answers; its reply, and how long that took in nanoseconds."""
        stopping = Stopping()
        began = self._dispatch.clock()
        found: Found
        with self._counted(caller, model, remote, stopping):
            search = self._search(remote, stopping)
            while True:
                host = await search.next()
                try:
                    with host.held():
                        found = await stopping.wait(ask(host.connection), self._first_s)
                    search.answered(host)
                    return found, int((self._dispatch.clock() - began) * 1e9)
                except (RunError, StoreError, TimeoutError) as error:
                    if stopping.asked:
                        raise RequestCanceled from None
                    search.failed(host, error, begun=False)

    async def _pooled(
        self, caller: Caller, model: ModelOnDisk, remote: Remote, ask: Callable[[Connection], Awaitable[Pooled]]
    ) -> Pooled:
        reply: tuple[Pooled, int] = await self._ask(caller, model, remote, ask)
        found: Pooled = reply[0]
        total_ns = reply[1]
        tokens = found.stats.prompt_tokens
        warnings = tuple(dict.fromkeys((*caller.warnings, *found.warnings)))
        self._dispatch.refuse(warnings)
        self._dispatch.requests.update(caller.request_id, prompt_tokens=tokens, prompt_done=tokens, warnings=warnings)
        return replace(found, stats=replace(found.stats, total_ns=total_ns), warnings=warnings)

    # -- the tables ---------------------------------------------------------------------------------------------

    def _search(self, remote: Remote, stopping: Stopping) -> Search:
        assert self._hosts is not None
        return Search(self._hosts, self._hosts.use(remote.hosts), stopping)

    @contextmanager
    def _counted(self, caller: Caller, model: ModelOnDisk, remote: Remote, stopping: Stopping) -> Iterator[Stub]:
        """Show a request in the table of requests, and its model in that of models."""
        self._dispatch.requests.begin(caller, model.shown, stopping.stop)
        self._dispatch.requests.update(caller.request_id, state=RequestState.WAITING)
        try:
            with self.in_use.counted(model, remote) as stub:
                yield stub
        finally:
            stopping.close()


async def _read_out(chunks: AsyncGenerator[Chunk, None]) -> None:
    """Take the end of a reply, so that its connection can be used again; who does not end is cut off."""
    with suppress(RunError, StoreError, TimeoutError):
        async with asyncio.timeout(READ_OUT_S):
            await anext(chunks, None)


def _chat_there(model: ModelOnDisk, remote: Remote, request: ChatRequest) -> ChatRequest:
    """The conversation with what the model says of itself, as its server is asked it. Raises InvalidOption."""
    messages = request.messages
    if messages:
        messages = (*model.history, *messages)
        if request.messages[0].role != "system" and model.system:
            messages = (Message("system", model.system), *messages)
    return replace(
        request, model=remote.model, messages=messages, options=_options(model, request.options), caller=None
    )


def _options(model: ModelOnDisk, given: Mapping[str, object]) -> Mapping[str, object]:
    """The options of a request over those of its model. Raises InvalidOption."""
    parse_options(model.parameters, given)
    return {**model.parameters, **given}
