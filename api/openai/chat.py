"""`POST /v1/chat/completions` (spec b.2)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.openai.checks import check_chat_completion, refusals
from corral.api.openai.choices import caller_of, collect, options_of, side_by_side
from corral.api.openai.completion import Completion
from corral.api.openai.schemas import ChatCompletionBody
from corral.api.openai.sse import SSE, event
from corral.api.reply import json_reply
from corral.api.stream import respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import ChatRequest, Chunk


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Continue a conversation."""
    body = await read_json(request, ChatCompletionBody, missing="EOF")
    if not body.messages:
        raise RequestRefused("[] is too short - 'messages'")
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    await check_chat_completion(client, body)
    who = caller(request, body.model)
    verb = ChatRequest(
        model=body.model,
        messages=body.to_messages(),
        options=body.to_options(),
        keep_alive_s=parse_keep_alive(body.keep_alive),
        format=body.to_format(),
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs,
        progress=body.stream and body.return_progress,
        think=body.to_think(),
        tools=body.to_tools(),
        render_only=body.debug_render_only,
    )
    streams = [
        client.chat(replace(verb, caller=caller_of(who, index), options=options_of(verb.options, index)))
        for index in range(body.n)
    ]
    pieces = side_by_side(streams)
    completion = Completion(f"chatcmpl-{who.request_id}", body.model, int(time.time()), choices=body.n)
    with refusals(body.model):
        if not body.stream:
            return json_reply(completion.whole(await collect(pieces, body.n)), charset=False)
        events = _events(completion, pieces, usage=body.stream_options.include_usage)
        return await respond(request, SSE, events, lambda one: (event(one),))


async def _events(
    completion: Completion, pieces: AsyncGenerator[tuple[int, Chunk], None], *, usage: bool
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(pieces):
        async for index, chunk in pieces:
            for one in completion.events(chunk, index, usage=usage):
                yield one
