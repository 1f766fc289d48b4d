"""The verbs about tokens: they want a model's vocabulary and template, and none of its computing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

from corral.runtime.answers import chat_prompt
from corral.runtime.dispatch import Cancellation, Dispatch
from corral.runtime.engine import protocol
from corral.runtime.errors import NotSupported
from corral.runtime.library import ModelOnDisk
from corral.runtime.remote.answers import RemoteAnswers
from corral.runtime.runner import Runner
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import Caller, ChatRequest, Detokenized, DetokenizeRequest, TokenizeRequest, Tokens

T = TypeVar("T")


class Tokenizing:
    """Answers tokenize and detokenize. Owned by the service loop."""

    def __init__(self, dispatch: Dispatch, remotes: RemoteAnswers | None = None) -> None:
        """`remotes` answers for models whose engine is elsewhere."""
        self._dispatch = dispatch
        self._remotes = remotes or RemoteAnswers(dispatch, None)

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return tokens; see `verbs.Client.tokenize`."""

        async def ask(runner: Runner, model: ModelOnDisk) -> protocol.Tokenized:
            begin = isinstance(request, TokenizeRequest) and request.begin
            make = partial(protocol.Tokenize, prompt=_prompt(request, model), begin=begin)
            return await runner.ask(make, protocol.Tokenized)

        caller = self._dispatch.caller(request.caller, "tokenize")
        with self._dispatch.row(caller, request.model):
            model = await self._dispatch.open(request.model)
            if model.remote is not None:
                return await self._remotes.tokenize(caller, model, request)
            found, total_ns, load_ns = await self._answer(caller, model, request, ask)
        return Tokens(tuple(found.tokens), total_ns, load_ns)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return a text; see `verbs.Client.detokenize`."""

        async def ask(runner: Runner, model: ModelOnDisk) -> protocol.Detokenized:
            return await runner.ask(partial(protocol.Detokenize, tokens=list(request.tokens)), protocol.Detokenized)

        caller = self._dispatch.caller(request.caller, "detokenize")
        with self._dispatch.row(caller, request.model):
            model = await self._dispatch.open(request.model)
            if model.remote is not None:
                return await self._remotes.detokenize(caller, model, request)
            found, total_ns, load_ns = await self._answer(caller, model, request, ask)
        return Detokenized(found.text, total_ns, load_ns)

    async def _answer(
        self,
        caller: Caller,
        model: ModelOnDisk,
        request: TokenizeRequest | ChatRequest | DetokenizeRequest,
        ask: Callable[[Runner, ModelOnDisk], Awaitable[T]],
    ) -> tuple[T, int, int]:
        """Hold the model for as long as `ask` needs it; returns also what all took and the load, in nanoseconds."""
        dispatch, row = self._dispatch, caller.request_id
        wanted = dispatch.wanted(model, {**model.parameters, **request.options})
        began = dispatch.clock()
        cancellation = Cancellation()
        dispatch.requests.begin(caller, model.shown, cancellation.cancel)
        dispatch.requests.update(row, state=RequestState.WAITING)
        async with AsyncExitStack() as stack:
            keep_alive_s = dispatch.keep_alive_s(request.keep_alive_s, model)
            held = dispatch.scheduler.lease(wanted, keep_alive_s, request_id=row)
            lease = await cancellation.guard(stack.enter_async_context(held))
            found = await cancellation.guard(ask(lease.runner, model))
        return found, int((dispatch.clock() - began) * 1e9), lease.load_ns


def _prompt(request: TokenizeRequest | ChatRequest, model: ModelOnDisk) -> protocol.RawPrompt | protocol.ChatPrompt:
    if isinstance(request, TokenizeRequest):
        return protocol.RawPrompt(request.text)
    if "completion" not in model.capabilities:
        raise NotSupported(f'"{request.model}" does not support chat')
    return chat_prompt(request, model)
