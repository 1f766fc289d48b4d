"""`POST /v1/messages` and `POST /v1/messages/count_tokens` (spec c)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from corral.api.anthropic.blocks import read_conversation
from corral.api.anthropic.replies import Answer, Event
from corral.api.anthropic.schemas import CountBody, MessagesBody
from corral.api.body import read_json
from corral.api.errors import RequestRefused, anthropic_body
from corral.api.keys import anthropic_id, caller, workbench
from corral.api.ollama.checks import check_name, missing
from corral.api.ollama.generate import collect
from corral.api.reply import json_reply
from corral.api.stream import Wire, respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import ChatRequest, Chunk, Client
from corral.store.errors import ModelNotFound


async def messages(request: web.Request) -> web.StreamResponse:
    """Continue a conversation."""
    body = await read_json(request, MessagesBody, missing="EOF")
    check_name(body.model, RequestRefused("model is required"))
    if body.max_tokens <= 0:
        raise RequestRefused("max_tokens is required and must be positive")
    client = workbench(request)
    try:
        verb, left_out = await _chat_request(request, client, body)
        answer = Answer(f"msg_{caller(request).request_id}", body.model, left_out)
        chunks = client.chat(verb)
        if not body.stream:
            return json_reply(answer.whole(await collect(chunks)), charset=False)
        return await respond(request, _wire(request), _events(answer, chunks), lambda event: (event.encode(),))
    except ModelNotFound:
        raise missing(body.model) from None


async def count_tokens(request: web.Request) -> web.Response:
    """Say how many tokens a prompt has; nothing is computed."""
    body = await read_json(request, CountBody, missing="EOF")
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    try:
        verb, _ = await _chat_request(request, client, body)
        found = await client.tokenize(verb)
    except ModelNotFound:
        raise missing(body.model) from None
    return json_reply({"input_tokens": len(found.tokens)}, charset=False)


async def _chat_request(
    request: web.Request, client: Client, body: MessagesBody | CountBody
) -> tuple[ChatRequest, tuple[str, ...]]:
    """Return the verb's request, and in words what of the body the model will not see.

    Raises:
        RequestRefused: the body contradicts itself or holds what cannot be done.
        ModelNotFound: there is no such model.
    """
    if not body.messages:
        raise RequestRefused("messages is required")
    conversation, blocks = read_conversation(body.system, body.messages)
    tools, foreign = body.to_tools()
    whole = body if isinstance(body, MessagesBody) else None
    verb = ChatRequest(
        model=body.model,
        messages=conversation,
        options=whole.to_options() if whole else body.options,
        keep_alive_s=parse_keep_alive(body.keep_alive),
        caller=caller(request, body.model),
        format=whole.to_format() if whole else None,
        progress=whole is not None and whole.stream,
        think=await _think(client, body),
        tools=tools,
    )
    left_out = [f"blocks of type {kind!r} were left out" for kind in blocks]
    left_out += [f"tool {name!r} is run by Anthropic's servers and was left out" for name in foreign]
    return verb, tuple(left_out)


async def _think(client: Client, body: CountBody) -> bool | str | None:
    """Return whether to think, or how hard; a model that cannot is not asked to, so that agents work with any."""
    think = body.to_think()
    if think and "thinking" not in (await client.show(body.model)).capabilities:
        return None
    return think


async def _events(answer: Answer, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Event, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for event in answer.events(chunk):
                yield event


def _wire(request: web.Request) -> Wire:
    request_id = anthropic_id(request)
    return Wire(
        "text/event-stream",
        lambda problem: Event("error", anthropic_body(problem, request_id)).encode(),
        {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
