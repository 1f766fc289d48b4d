"""The routes of looking after models and settings, which are ours: `upkeep.Upkeep` and pins over HTTP."""

from __future__ import annotations

from aiohttp import web

from corral.api.body import read_json
from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_model, check_name
from corral.api.ollama.jobs import report
from corral.api.reply import json_reply
from corral.api.service.bodies import ModelBody, ModelsBody, PinBody, PlanPullBody, SettingBody, VerifyBody


def routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [
        web.post("/api/fits", fits),
        web.post("/api/plan/load", plan_load),
        web.post("/api/plan/pull", plan_pull),
        web.post("/api/plan/delete", plan_delete),
        web.get("/api/pulls", pulls, allow_head=False),
        web.delete("/api/pulls", drop_pull),
        web.post("/api/verify", verify),
        web.get("/api/orphans", orphans, allow_head=False),
        web.delete("/api/orphans", remove_orphans),
        web.post("/api/trash", trash),
        web.post("/api/trash/restore", restore),
        web.post("/api/pin", pin),
        web.get("/api/config", settings, allow_head=False),
        web.post("/api/config", adjust),
    ]


async def fits(request: web.Request) -> web.Response:
    """Say at which contexts a model fits the memory."""
    body = await read_json(request, ModelBody)
    await _check(request, body.model)
    return json_reply({"fits": await workbench(request).fits(body.model)})


async def plan_load(request: web.Request) -> web.Response:
    """Say what loading a model now would put out of memory."""
    body = await read_json(request, ModelBody)
    await _check(request, body.model)
    return json_reply(await workbench(request).plan_load(body.model))


async def plan_pull(request: web.Request) -> web.Response:
    """Say what a pull would fetch, without fetching it."""
    body = await read_json(request, PlanPullBody)
    if not body.model:
        raise RequestRefused("model is required")
    caller(request, body.model)
    return json_reply(await workbench(request).plan_pull(body.model, insecure=body.insecure))


async def plan_delete(request: web.Request) -> web.Response:
    """Say what deleting models would free, and what stays because others share it."""
    return json_reply(await workbench(request).plan_delete(await _models(request)))


async def pulls(request: web.Request) -> web.Response:
    """List the pulls that were left and can be taken up again."""
    return json_reply({"pulls": await workbench(request).unfinished_pulls()})


async def drop_pull(request: web.Request) -> web.Response:
    """Remove what came of a pull that was left."""
    body = await read_json(request, ModelBody)
    if not body.model:
        raise RequestRefused("model is required")
    return json_reply({"freed": await workbench(request).drop_unfinished(body.model)})


async def verify(request: web.Request) -> web.StreamResponse:
    """Read every byte of a model again."""
    body = await read_json(request, VerifyBody)
    await _check(request, body.model)
    steps = workbench(request).verify(body.model, caller=caller(request, body.model))
    return await report(request, steps, stream=body.stream)


async def orphans(request: web.Request) -> web.Response:
    """Say which files of the store no model needs."""
    return json_reply(await workbench(request).plan_cleanup())


async def remove_orphans(request: web.Request) -> web.Response:
    """Remove the files that no model needs, and empty the trash."""
    return json_reply({"freed": await workbench(request).clean_up()})


async def trash(request: web.Request) -> web.Response:
    """Delete models so that they can be restored; their space is free later."""
    return json_reply({"models": await workbench(request).trash(await _models(request))})


async def restore(request: web.Request) -> web.Response:
    """Bring back what was put into the trash last."""
    return json_reply({"models": await workbench(request).restore()})


async def pin(request: web.Request) -> web.Response:
    """Keep a model that is in memory there whoever else wants room, or no longer."""
    body = await read_json(request, PinBody)
    await _check(request, body.model)
    await workbench(request).pin(body.model, pinned=body.pinned)
    return json_reply({"model": body.model, "pinned": body.pinned})


async def settings(request: web.Request) -> web.Response:
    """List the settings of the service with where each comes from."""
    return json_reply({"settings": await workbench(request).settings()})


async def adjust(request: web.Request) -> web.Response:
    """Change a setting until the service ends."""
    body = await read_json(request, SettingBody)
    if not body.name:
        raise RequestRefused("name is required")
    change = await workbench(request).adjust(body.name, body.value)
    return json_reply({"changed": change.changed, "restart": change.restart, "warnings": change.warnings})


async def _models(request: web.Request) -> list[str]:
    """The models a request is about, all of them here."""
    body = await read_json(request, ModelsBody)
    if not body.models:
        raise RequestRefused("models is required")
    for model in body.models:
        await _check(request, model)
    return body.models


async def _check(request: web.Request, model: str) -> None:
    """Refuse what is no model here, and note the model in the table of requests."""
    check_name(model, RequestRefused("model is required"))
    caller(request, model)
    await check_model(workbench(request), model)
