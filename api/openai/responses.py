"""`POST /v1/responses` (spec b.6)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.openai.checks import check, check_top_logprobs, refusals
from corral.api.openai.responses_answer import ResponseAnswer
from corral.api.openai.responses_body import ResponsesBody
from corral.api.openai.sse import CONTENT_TYPE, HEADERS, named_event
from corral.api.reply import json_reply
from corral.api.stream import Wire, respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.verbs import ChatRequest, Chunk


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer a conversation, told as items."""
    body = await read_json(request, ResponsesBody, missing="EOF")
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    await check(client, body.model, lambda: _check(body))
    who = caller(request, body.model)
    verb = ChatRequest(
        model=body.model,
        messages=body.to_messages(),
        options=body.to_options(),
        keep_alive_s=parse_keep_alive(body.keep_alive),
        truncate=body.truncation != "disabled",
        caller=who,
        format=body.to_format(),
        logprobs=body.wants_logprobs,
        top_logprobs=body.top_logprobs,
        think=body.to_think(),
        tools=body.to_tools(),
    )
    answer = ResponseAnswer(who.request_id, int(time.time()), body)
    chunks = client.chat(verb)
    with refusals(body.model):
        if not body.stream:
            async with aclosing(chunks):
                async for chunk in chunks:
                    for _ in answer.events(chunk):
                        pass
            return json_reply(answer.whole(), charset=False)
        wire = Wire(CONTENT_TYPE, lambda problem: named_event(answer.failed(problem)), HEADERS)
        return await respond(request, wire, _events(answer, chunks), lambda one: (named_event(one),))


def _check(body: ResponsesBody) -> None:
    body.check_stateless()
    check_top_logprobs(body.top_logprobs)
    if not body.to_messages():
        raise RequestRefused("input is required")
    body.to_options()
    body.to_tools()
    body.to_think()
    body.to_format()


async def _events(answer: ResponseAnswer, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for one in answer.events(chunk):
                yield one
