"""`POST /api/generate` and `POST /api/chat` (spec a.7, a.8)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused, ollama_body
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_chat, check_generate, check_name, missing
from corral.api.ollama.replies import ChatObjects, generate_object, line
from corral.api.ollama.schemas import ChatBody, GenerateBody
from corral.api.reply import encode, json_reply
from corral.api.stream import Wire, respond
from corral.runtime.durations import parse_keep_alive
from corral.runtime.formats import parse_format
from corral.runtime.verbs import ChatRequest, Chunk, GenerateRequest, Logprob, ToolCall, Tools
from corral.store.errors import ModelNotFound

NDJSON = Wire("application/x-ndjson", lambda problem: encode(ollama_body(problem)) + b"\n", {})


async def generate(request: web.Request) -> web.StreamResponse:
    """Complete a prompt, load a model, or unload it."""
    body = await read_json(request, GenerateBody)
    check_name(body.model, RequestRefused("model '' not found", 404))
    client = workbench(request)
    keep_alive_s = parse_keep_alive(body.keep_alive)
    unloads = not body.prompt and keep_alive_s == 0
    if not unloads:
        await check_generate(client, body)
    verb = GenerateRequest(
        model=body.model,
        prompt=body.prompt,
        system=body.system,
        template=body.template,
        raw=body.raw,
        context=tuple(body.context),
        images=tuple(body.images),
        options=body.options,
        keep_alive_s=keep_alive_s,
        truncate=body.truncate,
        shift=body.shift,
        caller=caller(request, body.model),
        format=None if unloads else parse_format(body.format),
        logprobs=body.logprobs,
        top_logprobs=0 if unloads else body.top_logprobs,
        progress=body.stream and body.prompt_eval_progress,
        think=None if unloads else body.to_think(),
        suffix=body.suffix,
        render_only=body.debug_render_only,
    )
    one_object = not body.stream or body.debug_render_only or not (body.prompt or verb.progress)
    return await answer(request, body.model, client.generate(verb), generate_object, one_object=one_object)


async def chat(request: web.Request) -> web.StreamResponse:
    """Continue a conversation, load a model, or unload it."""
    body = await read_json(request, ChatBody)
    check_name(body.model, RequestRefused("model is required"))
    client = workbench(request)
    keep_alive_s = parse_keep_alive(body.keep_alive)
    unloads = not body.messages and keep_alive_s == 0
    if not unloads:
        await check_chat(client, body)
    verb = ChatRequest(
        model=body.model,
        messages=tuple(message.to_message() for message in body.messages),
        options=body.options,
        keep_alive_s=keep_alive_s,
        truncate=body.truncate,
        shift=body.shift,
        caller=caller(request, body.model),
        format=None if unloads else parse_format(body.format),
        logprobs=body.logprobs,
        top_logprobs=0 if unloads else body.top_logprobs,
        progress=body.stream and body.prompt_eval_progress,
        think=None if unloads else body.to_think(),
        tools=Tools() if unloads else body.to_tools(),
        render_only=body.debug_render_only,
    )
    one_object = not body.stream or body.debug_render_only or not (body.messages or verb.progress)
    return await answer(request, body.model, client.chat(verb), ChatObjects(), one_object=one_object)


async def answer(
    request: web.Request,
    model: str,
    chunks: AsyncGenerator[Chunk, None],
    to_object: Callable[[str, Chunk], dict[str, Any]],
    *,
    one_object: bool,
) -> web.StreamResponse:
    """Send an answer as lines or as one object; the model is called what the client called it."""
    try:
        if one_object:
            return json_reply(to_object(model, await collect(chunks)))
        return await respond(request, NDJSON, chunks, lambda chunk: line(to_object(model, chunk)))
    except ModelNotFound:
        raise missing(model) from None


async def collect(chunks: AsyncGenerator[Chunk, None]) -> Chunk:
    """Wait for a whole answer: texts, calls and log probabilities joined, the rest from the last piece."""
    thoughts: list[str] = []
    texts: list[str] = []
    calls: list[ToolCall] = []
    logprobs: list[Logprob] = []
    last = Chunk()
    async with aclosing(chunks):
        async for chunk in chunks:
            thoughts.append(chunk.thinking)
            texts.append(chunk.text)
            calls += chunk.tool_calls
            logprobs += chunk.logprobs
            last = chunk
    return msgspec.structs.replace(
        last,
        thinking="".join(thoughts),
        text="".join(texts),
        tool_calls=tuple(calls),
        logprobs=tuple(logprobs),
    )
