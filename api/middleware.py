"""What every request passes before a route sees it: its row in the table, errors, origin, host, key. In that order.

Runs on the service loop.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from corral.api.errors import Problem, RequestRefused, anthropic_body, describe, is_expected, ollama_body, openai_body
from corral.api.keys import (
    ACTIVITY,
    ALLOWED_ORIGIN,
    CALLER,
    CANCELED,
    NOTE,
    WARNINGS,
    WORKBENCH,
    anthropic_id,
    is_anthropic,
)
from corral.api.origins import HostPolicy, OriginPolicy
from corral.api.priority import priority_of
from corral.api.reply import json_reply
from corral.api.stream import SHUTTING_DOWN, take_back_cancellation
from corral.api.version import FORWARDED, SERVER
from corral.runtime.requests import RequestLog
from corral.runtime.snapshot import RequestView
from corral.runtime.verbs import Caller

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

_REQUEST_ID = "X-Request-Id"
_WARNINGS = "X-Corral-Warnings"
_GIVEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_LONGEST_WARNINGS = 2000
_OPEN_PATHS = frozenset({"/", "/api/version"})
_MAX_AGE_S = 12 * 3600
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Max-Age": str(_MAX_AGE_S),
    "Access-Control-Allow-Headers": ",".join(
        (
            *(
                "Authorization",
                "Content-Type",
                "User-Agent",
                "Accept",
                "X-Requested-With",
                "X-Request-Id",
                "X-Corral-Priority",
                "OpenAI-Beta",
            ),
            *("X-Api-Key", "Anthropic-Version", "Anthropic-Beta", "Anthropic-Dangerous-Direct-Browser-Access"),
            *(
                f"x-stainless-{name}"
                for name in (
                    *("arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version"),
                    *("poll-helper", "retry-count", "runtime", "runtime-version", "timeout"),
                )
            ),
        )
    ),
}

_UNRECORDED = frozenset({"/api/snapshot"})
"""What screens elsewhere ask several times a second: rows of it would push out all others."""


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id and a row in the table of requests; close the row and log a line however it ends."""
    requests = request.app[WORKBENCH].requests
    priority, warnings = priority_of(request.headers)
    who = Caller(
        _request_id(request, requests),
        _client_text(request),
        request.method,
        request.path,
        priority,
        forwarded=FORWARDED in request.headers,
    )
    request[CALLER] = who
    request[NOTE] = ""
    request[WARNINGS] = warnings
    activity = request.app[ACTIVITY]
    task = asyncio.current_task()
    assert task is not None
    activity.handlers.add(task)
    silence = activity.silent.pop(request.protocol, None)
    if silence is not None:
        silence.cancel()
    if is_recorded := request.path not in _UNRECORDED:
        requests.begin(who)
    started = time.perf_counter()
    status = 499
    try:
        response = await handler(request)
        status = 499 if request.get(CANCELED) else response.status
        return response
    except asyncio.CancelledError:
        request[NOTE] = request[NOTE] or "client went away"
        raise
    finally:
        requests.end(who.request_id, status=status, note=request[NOTE])
        activity.handlers.discard(task)
        if not activity.handlers:
            activity.idle.set()
        took_ms = (time.perf_counter() - started) * 1000
        if (is_recorded or status >= 400) and log.isEnabledFor(logging.INFO):
            fields = _log_fields(who, requests.get(who.request_id), status, took_ms, request)
            log.info("request", extra={"fields": fields})


def _request_id(request: web.Request, requests: RequestLog) -> str:
    """Return the id the client gave, where it is one and no request in flight has it; else a new one."""
    given = request.headers.get(_REQUEST_ID, "")
    return given if _GIVEN_ID.fullmatch(given) and not requests.is_open(given) else secrets.token_hex(6)


def _log_fields(
    who: Caller, row: RequestView | None, status: int, took_ms: float, request: web.Request
) -> dict[str, object]:
    """Return what the log says of a request that ended: what was asked and what it took, nothing of the texts."""
    fields: dict[str, object] = {
        "request_id": who.request_id,
        "client": who.client,
        "method": who.method,
        "path": who.path,
        "status": status,
        "duration_ms": round(took_ms, 1),
    }
    if row is not None:
        first_s = row.first_token_s
        fields |= {
            "model": row.model,
            "prompt_tokens": row.prompt_tokens,
            "cached_tokens": row.cached_tokens,
            "output_tokens": row.output_tokens,
            "first_token_ms": round((first_s - row.started_s) * 1000, 1) if first_s is not None else None,
        }
    fields |= {"note": request[NOTE], "warnings": "; ".join(_warnings(request))}
    return {name: value for name, value in fields.items() if value not in (None, "", 0)}


def _warnings(request: web.Request) -> tuple[str, ...]:
    """Return what is known so far not to be as asked for: of the body, and of the work on it."""
    of_work = request.app[WORKBENCH].requests.warnings(request[CALLER].request_id)
    return tuple(dict.fromkeys((*request[WARNINGS], *of_work)))


def _warnings_header(warnings: Sequence[str]) -> str:
    """Write warnings as a JSON list of ASCII, as many as a header may hold."""
    kept = list(warnings)
    while len(text := json.dumps(kept)) > _LONGEST_WARNINGS and kept:
        kept.pop()
    return text


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into the wire's own error body."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _routing_error(request, error)
    except asyncio.CancelledError:
        if not request.app[ACTIVITY].stopping:
            raise
        take_back_cancellation()
        request[NOTE] = SHUTTING_DOWN.message
        return error_response(request, SHUTTING_DOWN)
    except Exception as error:
        if not is_expected(error):
            log.exception("%s %s failed", request.method, request.path)
        problem = describe(error)
        request[NOTE] = problem.message
        response = error_response(request, problem)
        if problem.status in (408, 413):
            response.force_close()
        return response


def error_response(request: web.Request, problem: Problem) -> web.Response:
    """Build the reply to a request that failed before anything was sent."""
    if is_anthropic(request):
        body = anthropic_body(problem, anthropic_id(request))
    else:
        body = openai_body(problem) if request.path.startswith("/v1/") else ollama_body(problem)
    response = json_reply(body, status=problem.status)
    response.headers.update(problem.headers)
    return response


def _routing_error(request: web.Request, error: web.HTTPException) -> web.Response:
    text = {404: "404 page not found", 405: "405 method not allowed"}.get(error.status, error.reason)
    request[NOTE] = text
    response = web.Response(status=error.status, text=text)
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def check_origin(policy: OriginPolicy) -> Middleware:
    """Build the middleware that refuses pages of other origins and answers preflights (spec a.3)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            if request.headers.get("Sec-Fetch-Site") == "cross-site":
                return _forbidden(request, "cross-site request")
            return await handler(request)
        if not policy.allows(origin, request.headers.get(hdrs.HOST, "")):
            return _forbidden(request, "origin not allowed")
        request[ALLOWED_ORIGIN] = origin
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers=_PREFLIGHT)
        return await handler(request)

    return middleware


def check_host(policy: HostPolicy) -> Middleware:
    """Build the middleware that serves only requests that are meant for this machine (spec a.3)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall(hdrs.HOST, [])
        if len(hosts) > 1 or not request.raw_path.startswith(("/", "*")):
            response = web.Response(status=400, text="400 Bad Request")
            response.force_close()
            return response
        # HTTP/1.0 may leave the header out, and health checks do; a browser never does.
        if hosts and not policy.allows(hosts[0]):
            return _forbidden(request, "host not allowed")
        if request.method == hdrs.METH_OPTIONS and hosts and policy.allows_by_name(hosts[0]):
            return web.Response(status=204)
        return await handler(request)

    return middleware


def check_key(keys: Sequence[str]) -> Middleware:
    """Build the middleware that asks for one of the keys on every route but the two that say who is there."""
    expected = [key.encode() for key in keys]

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN_PATHS:
            return await handler(request)
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.headers.get("X-Api-Key", "")
        given = token.strip().encode("utf-8", "surrogateescape")
        # Every key is compared, so that the time tells neither how much of one fits nor which.
        if not any([hmac.compare_digest(given, key) for key in expected]):
            raise RequestRefused("unauthorized", 401)
        return await handler(request)

    return middleware


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every response what belongs on all of them; a stream's are sent with its first byte."""
    response.headers[hdrs.SERVER] = SERVER
    who = request.get(CALLER)
    if who is not None:
        response.headers[_REQUEST_ID] = who.request_id
        if is_anthropic(request):
            response.headers["request-id"] = anthropic_id(request)
        if warnings := _warnings(request):
            response.headers[_WARNINGS] = _warnings_header(warnings)
    origin = request.get(ALLOWED_ORIGIN)
    if origin is not None:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers.add(hdrs.VARY, "Origin")
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = f"{_REQUEST_ID},{_WARNINGS}"
    if response.status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"


def _forbidden(request: web.Request, why: str) -> web.Response:
    request[NOTE] = why
    return web.Response(status=403)


def _client_text(request: web.Request) -> str:
    """Say in a few cells who asks: the program where it is on this machine, the address and the program elsewhere."""
    address = (request.remote or "?").split("%")[0]
    product = request.headers.get(hdrs.USER_AGENT, "").split("/")[0].split(" ")[0]
    product = "".join(char for char in product if char.isascii() and char.isprintable())[:20]
    if address in ("127.0.0.1", "::1") and product:
        return product
    return f"{address} {product}".rstrip()
