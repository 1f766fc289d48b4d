"""The routes about models as they are, and about who this server is (spec a.2, a.11 to a.14)."""

from __future__ import annotations

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import SETTINGS, caller, workbench
from corral.api.ollama.checks import check_name
from corral.api.ollama.replies import loaded_object, show_object, tag_object
from corral.api.ollama.schemas import CopyBody, DeleteBody, ShowBody
from corral.api.reply import json_reply
from corral.store.errors import ModelNotFound
from corral.store.names import ModelName


async def root(request: web.Request) -> web.Response:
    """Say the words that health checks look for."""
    return web.Response(text="Ollama is running")


async def version(request: web.Request) -> web.Response:
    """Say which Ollama's API this is."""
    return json_reply({"version": await workbench(request).version()})


async def status(request: web.Request) -> web.Response:
    """Say that there is no cloud here."""
    return json_reply({"cloud": {"disabled": True, "source": request.app[SETTINGS].cloud_source}})


async def tags(request: web.Request) -> web.Response:
    """List the models on disk."""
    return json_reply({"models": [tag_object(model) for model in await workbench(request).list_models()]})


async def ps(request: web.Request) -> web.Response:
    """List the models in memory."""
    return json_reply({"models": [loaded_object(model) for model in await workbench(request).loaded()]})


async def show(request: web.Request) -> web.Response:
    """Say all there is to know about a model."""
    body = await read_json(request, ShowBody)
    check_name(body.model, RequestRefused("model is required"))
    caller(request, body.model)
    try:
        details = await workbench(request).show(body.model, verbose=body.verbose)
    except ModelNotFound:
        raise RequestRefused(f"model '{ModelName.parse(body.model).short}' not found", 404) from None
    reply = show_object(details)
    if request.headers.get("User-Agent", "").startswith("GitHubCopilotChat/"):
        # It shows this name in its list, and would show every model of a family alike (spec a.12).
        reply["model_info"]["general.basename"] = body.model
    return json_reply(reply)


async def copy(request: web.Request) -> web.Response:
    """Give a model a second name."""
    body = await read_json(request, CopyBody)
    for role, name in (("source", body.source), ("destination", body.destination)):
        refusal = f'{role} "{name}" is invalid'
        check_name(name, RequestRefused(refusal), refusal)
    caller(request, body.source)
    try:
        await workbench(request).copy(body.source, body.destination)
    except ModelNotFound:
        raise RequestRefused(f'model "{body.source}" not found', 404) from None
    return web.Response()


async def delete(request: web.Request) -> web.Response:
    """Remove a model."""
    body = await read_json(request, DeleteBody)
    check_name(body.model, RequestRefused("model is required"), f'name "{body.model}" is invalid')
    caller(request, body.model)
    try:
        await workbench(request).delete(body.model)
    except ModelNotFound:
        raise RequestRefused(f"model '{body.model}' not found", 404) from None
    return web.Response()
