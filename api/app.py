"""Puts the HTTP application together: routes, and what every request passes on its way to them."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from corral.api import middleware
from corral.api.anthropic.routes import routes as anthropic_routes
from corral.api.keys import ACTIVITY, METRICS, REQUEST_FILES, SETTINGS, WORKBENCH, Activity
from corral.api.metrics import Metrics
from corral.api.ollama.routes import routes as ollama_routes
from corral.api.openai.routes import routes as openai_routes
from corral.api.openapi import DOCUMENT
from corral.api.origins import HostPolicy, OriginPolicy
from corral.api.read_only import refuse_changes
from corral.api.request_files import RequestFiles
from corral.api.served import ServedClient
from corral.api.service.routes import routes as service_routes
from corral.api.version import PRODUCT
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
    if settings.api_keys:
        checks.append(middleware.check_key(settings.api_keys))
    if settings.read_only:
        checks.append(refuse_changes)
    app = web.Application(middlewares=checks)
    app[WORKBENCH] = workbench
    app[SETTINGS] = settings
    app[ACTIVITY] = Activity()
    app[METRICS] = Metrics(PRODUCT)
    app[DOCUMENT] = {}
    if settings.log_requests:
        app[REQUEST_FILES] = RequestFiles(settings.base_url)
    app.on_response_prepare.append(middleware.add_headers)
    app.add_routes(ollama_routes())
    app.add_routes(openai_routes())
    app.add_routes(anthropic_routes())
    app.add_routes(service_routes())
    for resource in app.router.resources():
        app[METRICS].routes.add(resource.canonical, resource.get_info().get("pattern"))
    workbench.requests.on_end = app[METRICS].observe
    return app
