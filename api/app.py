"""Puts the HTTP application together: routes, and what every request passes on its way to them."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from corral.api import middleware
from corral.api.anthropic.routes import routes as anthropic_routes
from corral.api.keys import ACTIVITY, SETTINGS, WORKBENCH, Activity
from corral.api.ollama.routes import routes as ollama_routes
from corral.api.openai.routes import routes as openai_routes
from corral.api.origins import HostPolicy, OriginPolicy
from corral.api.served import ServedClient
from corral.runtime.settings import Settings


def build(settings: Settings, workbench: ServedClient) -> web.Application:
    """Build the application around a workbench that has started.

    Raises:
        InvalidOrigin: an entry of the allowed origins is none.
    """
    hosts = HostPolicy(settings.listen_host, settings.origins, loopback=settings.loopback)
    checks: list[Middleware] = [
        middleware.record,
        middleware.translate_errors,
        middleware.check_origin(OriginPolicy(settings.origins)),
        middleware.check_host(hosts),
    ]
    if settings.api_key:
        checks.append(middleware.check_key(settings.api_key))
    app = web.Application(middlewares=checks)
    app[WORKBENCH] = workbench
    app[SETTINGS] = settings
    app[ACTIVITY] = Activity()
    app.on_response_prepare.append(middleware.add_headers)
    app.add_routes(ollama_routes())
    app.add_routes(openai_routes())
    app.add_routes(anthropic_routes())
    return app
