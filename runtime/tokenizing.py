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
from corral.runtime.runner import Runner
from corral.runtime.snapshot import RequestState
from corral.runtime.verbs import ChatRequest, Detokenized, DetokenizeRequest, TokenizeRequest, Tokens

T = TypeVar("T")


class Tokenizing:
    """Answers tokenize and detokenize. Owned by the service loop."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return tokens; see `verbs.Client.tokenize`."""

        async def ask(runner: Runner, model: ModelOnDisk) -> protocol.Tokenized:
            begin = isinstance(request, TokenizeRequest) and request.begin
            make = partial(protocol.Tokenize, prompt=_prompt(request, model), begin=begin)
            return await runner.ask(make, protocol.Tokenized)

        found, total_ns, load_ns = await self._answer(request, "tokenize", ask)
        return Tokens(tuple(found.tokens), total_ns, load_ns)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return a text; see `verbs.Client.detokenize`."""

        async def ask(runner: Runner, model: ModelOnDisk) -> protocol.Detokenized:
            return await runner.ask(partial(protocol.Detokenize, tokens=list(request.tokens)), protocol.Detokenized)

        found, total_ns, load_ns = await self._answer(request, "detokenize", ask)
        return Detokenized(found.text, total_ns, load_ns)

    async def _answer(
        self,
        request: TokenizeRequest | ChatRequest | DetokenizeRequest,
        verb: str,
        ask: Callable[[Runner, ModelOnDisk], Awaitable[T]],
    ) -> tuple[T, int, int]:
        """Hold the model for as long as `ask` needs it; returns also what all took and the load, in nanoseconds."""
        dispatch = self._dispatch
        caller = dispatch.caller(request.caller, verb)
        row = caller.request_id
        with dispatch.row(caller, request.model):
            model = await dispatch.open(request.model)
            wanted = dispatch.wanted(model, {**model.parameters, **request.options})
            began = dispatch.clock()
            cancellation = Cancellation()
            dispatch.requests.begin(caller, model.shown, cancellation.cancel)
            dispatch.requests.update(row, state=RequestState.WAITING)
            async with AsyncExitStack() as stack:
                held = dispatch.scheduler.lease(wanted, dispatch.keep_alive_s(request.keep_alive_s, model))
                lease = await cancellation.guard(stack.enter_async_context(held))
                found = await cancellation.guard(ask(lease.runner, model))
        return found, int((dispatch.clock() - began) * 1e9), lease.load_ns


def _prompt(request: TokenizeRequest | ChatRequest, model: ModelOnDisk) -> protocol.RawPrompt | protocol.ChatPrompt:
    if isinstance(request, TokenizeRequest):
        return protocol.RawPrompt(request.text)
    if "completion" not in model.capabilities:
        raise NotSupported(f'"{request.model}" does not support chat')
    return chat_prompt(request, model)
