"""Refuses what a request asks for and this server cannot do, rather than answering without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from corral.api.errors import RequestRefused
from corral.api.ollama.checks import check_model
from corral.api.openai.choices import check_n
from corral.api.openai.schemas import ChatCompletionBody
from corral.runtime.errors import InvalidFormat, RunError
from corral.runtime.verbs import Client
from corral.store.errors import ModelNotFound


async def check_chat_completion(client: Client, body: ChatCompletionBody) -> None:
    """Refuse a chat that cannot be had as it stands; a missing model is said first."""
    await check(client, body.model, lambda: _check_chat(body))


async def check(client: Client, model: str, refuse: Callable[[], object]) -> None:
    """Refuse what `refuse` raises for, but a missing model before: clients fetch it on that error."""
    try:
        refuse()
    except (RequestRefused, RunError):
        await check_model(client, model)
        raise


def _check_chat(body: ChatCompletionBody) -> None:
    check_n(body.n)
    check_top_logprobs(body.top_logprobs)
    if any(one != "text" for one in body.modalities):
        raise RequestRefused("modalities other than text are not supported")
    if not body.to_messages():
        raise RequestRefused("invalid message format")
    body.to_options()
    body.to_tools()
    body.to_think()
    body.to_format()


def check_top_logprobs(top_logprobs: int) -> None:
    """Refuse more of the likeliest tokens than are told. Raises RequestRefused."""
    if not 0 <= top_logprobs <= 20:
        raise RequestRefused("top_logprobs must be between 0 and 20")


@contextmanager
def refusals(model: str) -> Iterator[None]:
    """Say what the workbench refuses as OpenAI's clients know it: a wrong form is theirs, natively it is a 500."""
    try:
        yield
    except ModelNotFound:
        raise RequestRefused(f"model '{model}' not found", 404) from None
    except InvalidFormat as error:
        raise RequestRefused(str(error)) from None
