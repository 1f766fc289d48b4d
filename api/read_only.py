"""A server whose models stay as they are (`CORRAL_READ_ONLY`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from corral.api.errors import RequestRefused

_CHANGES = frozenset(
    {
        "/api/pull",
        "/api/push",
        "/api/create",
        "/api/copy",
        "/api/delete",
        "/api/trash",
        "/api/trash/restore",
    }
)
_REMOVES = frozenset({"/api/pulls", "/api/orphans"})
"""What is told to all and removed by nobody."""
_BLOBS = "/api/blobs/"


@web.middleware
async def refuse_changes(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse what brings models in or out, or changes them; questions and answers pass."""
    removes = request.path in _REMOVES and request.method == hdrs.METH_DELETE
    if removes or request.path in _CHANGES or (request.path.startswith(_BLOBS) and request.method != hdrs.METH_HEAD):
        raise RequestRefused("this server is read-only: its models cannot be changed (CORRAL_READ_ONLY)", 403)
    return await handler(request)
