"""The routes about the service itself, which are ours: who waits, cancelling, figures, what there is to ask."""

from __future__ import annotations

import math

import msgspec
from aiohttp import web

from corral.api import snapshot_wire
from corral.api.errors import RequestRefused
from corral.api.keys import CALLER, METRICS, workbench
from corral.api.metrics import CONTENT_TYPE
from corral.api.openapi import DOCUMENT, describe_application
from corral.api.reply import json_reply
from corral.api.service import upkeep
from corral.api.service.queue import queue_object


def routes() -> list[web.RouteDef]:
    """Return the routes about the service."""
    return [
        web.get("/metrics", metrics, allow_head=False),
        web.get("/api/queue", queue, allow_head=False),
        web.get("/api/snapshot", snapshot, allow_head=False),
        web.delete("/api/requests/{id}", cancel),
        web.get("/api/openapi.json", openapi, allow_head=False),
        web.post("/api/config/reload", reload_settings),
        *upkeep.routes(),
    ]


async def metrics(request: web.Request) -> web.Response:
    """Give figures to Prometheus."""
    text = request.app[METRICS].text(workbench(request).snapshot_now())
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


async def queue(request: web.Request) -> web.Response:
    """List the requests in flight, but this one."""
    return json_reply(queue_object(workbench(request).snapshot_now(), request[CALLER].request_id))


async def snapshot(request: web.Request) -> web.Response:
    """Tell all that a screen shows; with `service` and `since` of an earlier reply, what has changed."""
    asked = request.query.get("since", "")
    try:
        since_s = float(asked) if asked else None
    except ValueError:
        since_s = math.nan
    if since_s is not None and not math.isfinite(since_s):
        raise RequestRefused("since must be the at_s of an earlier snapshot", 400)
    workbench(request).latest()  # that somebody looks is what makes the samples come
    reply = snapshot_wire.reply_of(
        workbench(request).snapshot_now(), service=request.query.get("service", ""), since_s=since_s
    )
    if request.headers.get("Accept") == snapshot_wire.PACKED:
        return web.Response(body=msgspec.msgpack.encode(reply), headers={"Content-Type": snapshot_wire.PACKED})
    return json_reply(reply)


async def cancel(request: web.Request) -> web.Response:
    """Stop a request in flight."""
    wanted = request.match_info["id"]
    if not await workbench(request).cancel(wanted):
        raise RequestRefused("no request of this id can be stopped: it ended, or is none", 404)
    return json_reply({"id": wanted, "status": "canceled"})


async def openapi(request: web.Request) -> web.Response:
    """Describe every route for machines."""
    if not request.app[DOCUMENT]:
        request.app[DOCUMENT].update(describe_application(request.app))
    return json_reply(request.app[DOCUMENT])


async def reload_settings(request: web.Request) -> web.Response:
    """Read the settings again and take over those that can change while the server runs."""
    change = await workbench(request).reload_settings()
    return json_reply({"changed": change.changed, "restart": change.restart, "warnings": change.warnings})
