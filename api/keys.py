"""What a request of the running application carries, by typed keys."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web
from msgspec import structs

from corral.api.metrics import Metrics
from corral.api.request_files import RequestFiles
from corral.api.served import ServedClient
from corral.runtime.settings import Settings
from corral.runtime.verbs import Caller


@dataclass(slots=True)
class Activity:
    """The handlers at work, so that a stop can wait for them and then end them. Owned by the service loop.

    `silent` holds the connections that have not brought a whole request head yet, with the timer that ends each.
    """

    handlers: set[asyncio.Task[object]] = field(default_factory=set)
    silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = field(default_factory=dict)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False


WORKBENCH: web.AppKey[ServedClient] = web.AppKey("workbench", ServedClient)
SETTINGS = web.AppKey("settings", Settings)
ACTIVITY = web.AppKey("activity", Activity)
METRICS = web.AppKey("metrics", Metrics)
REQUEST_FILES = web.AppKey("request_files", RequestFiles)
CALLER = web.RequestKey("caller", Caller)
NOTE = web.RequestKey("note", str)
WARNINGS: web.RequestKey[tuple[str, ...]] = web.RequestKey("warnings", tuple)
CANCELED = web.RequestKey("canceled", bool)
ALLOWED_ORIGIN = web.RequestKey("allowed_origin", str)


def workbench(request: web.Request) -> ServedClient:
    """Return the workbench that serves this request."""
    return request.app[WORKBENCH]


def caller(request: web.Request, model: str = "") -> Caller:
    """Return who asks, and note the model in the table of requests once it is known; to be called after the body."""
    who = structs.replace(request[CALLER], warnings=request[WARNINGS])
    if model:
        request.app[WORKBENCH].requests.update(who.request_id, model=model)
    return who


def is_anthropic(request: web.Request) -> bool:
    """Say whether a request is one of Anthropic's API; OpenAI's has a list of models at the same place."""
    if request.path.startswith("/v1/models"):
        return "anthropic-version" in request.headers
    return request.path.startswith("/v1/messages")


def anthropic_id(request: web.Request) -> str:
    """Return what Anthropic's clients are told as the request's id, in a header and in errors."""
    return f"req_{request[CALLER].request_id}"
