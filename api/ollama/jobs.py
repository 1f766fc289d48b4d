"""`POST /api/pull`, `/api/push` and `/api/create`: long jobs that report their progress (spec a.16 to a.18)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_create
from corral.api.ollama.generate import NDJSON
from corral.api.ollama.legacy import from_modelfile
from corral.api.ollama.replies import line, progress_object
from corral.api.ollama.schemas import CreateBody, PullBody, PushBody
from corral.api.reply import json_reply
from corral.api.stream import respond
from corral.runtime.verbs import CreateRequest, Progress


async def pull(request: web.Request) -> web.StreamResponse:
    """Fetch a model."""
    body = await read_json(request, PullBody)
    if not body.model:
        raise RequestRefused("invalid model name")
    if body.limit_rate < 0:
        raise RequestRefused("limit_rate must not be negative")
    steps = workbench(request).pull(
        body.model,
        insecure=body.insecure,
        limit_rate=body.limit_rate,
        caller=caller(request, body.model),
    )
    return await report(request, steps, stream=body.stream)


async def push(request: web.Request) -> web.StreamResponse:
    """Send a model to its registry."""
    body = await read_json(request, PushBody)
    if not body.model:
        raise RequestRefused("model is required")
    steps = workbench(request).push(body.model, insecure=body.insecure, caller=caller(request, body.model))
    return await report(request, steps, stream=body.stream)


async def create(request: web.Request) -> web.StreamResponse:
    """Make a model from another or from uploaded files."""
    body = await read_json(request, CreateBody)
    check_create(body)
    verb = CreateRequest(
        model=body.model,
        base=body.base or None,
        files=body.files,
        draft_files=body.draft_files,
        adapters=body.adapters,
        quantize=body.quantize or body.quantization,
        draft_quantize=body.draft_quantize,
        imatrix=body.imatrix,
        renderer=body.renderer,
        parser=body.parser,
        requires=body.requires,
        remote_host=body.remote_host,
        info=body.info,
        template=body.template,
        system=body.system,
        licenses=tuple(body.license),
        parameters=body.parameters,
        messages=tuple(message.to_message() for message in body.messages),
        caller=caller(request, body.model),
    )
    if body.modelfile:
        verb = from_modelfile(verb, body.modelfile)
    return await report(request, workbench(request).create(verb), stream=body.stream)


async def report(request: web.Request, steps: AsyncGenerator[Progress, None], *, stream: bool) -> web.StreamResponse:
    """Answer with the steps of a job, or with its last one only."""
    if stream:
        return await respond(request, NDJSON, steps, lambda step: line(progress_object(step)))
    last = Progress("")
    async with aclosing(steps):
        async for step in steps:
            last = step
    return json_reply(progress_object(last), charset=False)
