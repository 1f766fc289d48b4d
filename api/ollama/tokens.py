"""`POST /api/tokenize` and `/api/detokenize`. Ollama has no such routes; their form is that of its PR 12030."""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web
from pydantic import Field

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name, think_refusal
from corral.api.ollama.schemas import ChatBody, NamedModel
from corral.api.reply import json_reply, without_empty
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import ChatRequest, Detokenized, DetokenizeRequest, TokenizeRequest, Tokens
from corral.store.errors import ModelNotFound

_MOST_TOKENS = 2**31


class TokenizeBody(ChatBody):
    """`POST /api/tokenize`: a text (`content`), or a chat as `/api/chat` takes it, with its template's marks.

    `add_special` puts what begins a text in front of it, as llama.cpp's server does.
    """

    go_name: ClassVar[str] = "TokenizeRequest"
    content: str | None = None
    add_special: bool = False


class DetokenizeBody(NamedModel):
    """`POST /api/detokenize`."""

    go_name: ClassVar[str] = "DetokenizeRequest"
    tokens: list[int] | None = None
    keep_alive: Any = None
    options: dict[str, Any] = Field(default_factory=dict)


async def tokenize(request: web.Request) -> web.Response:
    """Return the tokens of a text or of a chat."""
    body = await read_json(request, TokenizeBody)
    check_name(body.model, RequestRefused("model is required"))
    if (body.content is None) == (not body.messages):
        raise RequestRefused("content or messages is required, and not both")
    if refusal := think_refusal(body.think):
        raise refusal
    verb = _chat(request, body) if body.messages else _text(request, body)
    try:
        found = await workbench(request).tokenize(verb)
    except ModelNotFound:
        raise RequestRefused(f"model '{body.model}' not found", 404) from None
    reply: dict[str, Any] = {"model": body.model, "tokens": list(found.tokens), "count": len(found.tokens)}
    return json_reply(reply | _trailer(found))


async def detokenize(request: web.Request) -> web.Response:
    """Return the text of tokens."""
    body = await read_json(request, DetokenizeBody)
    check_name(body.model, RequestRefused("model is required"))
    if body.tokens is None:
        raise RequestRefused("tokens is required")
    if not all(0 <= token < _MOST_TOKENS for token in body.tokens):
        raise RequestRefused("tokens must be numbers of tokens")
    verb = DetokenizeRequest(
        model=body.model,
        tokens=tuple(body.tokens),
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
    )
    try:
        found = await workbench(request).detokenize(verb)
    except ModelNotFound:
        raise RequestRefused(f"model '{body.model}' not found", 404) from None
    return json_reply({"model": body.model, "content": found.text} | _trailer(found))


def _text(request: web.Request, body: TokenizeBody) -> TokenizeRequest:
    return TokenizeRequest(
        model=body.model,
        text=body.content or "",
        begin=body.add_special,
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
    )


def _chat(request: web.Request, body: TokenizeBody) -> ChatRequest:
    return ChatRequest(
        model=body.model,
        messages=tuple(message.to_message() for message in body.messages),
        options=body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
        think=body.to_think(),
        tools=body.to_tools(),
    )


def _trailer(found: Tokens | Detokenized) -> dict[str, Any]:
    return without_empty(total_duration=found.total_ns, load_duration=found.load_ns)
