"""`HEAD` and `POST /api/blobs/:digest` (spec a.15)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aiohttp import web

from corral.api.errors import RequestRefused
from corral.api.keys import workbench
from corral.store.names import Digest


async def probe(request: web.Request) -> web.Response:
    """Say whether the store holds these bytes."""
    digest = str(Digest.parse(request.match_info["digest"]))
    return web.Response(status=200 if await workbench(request).has_blob(digest) else 404)


async def upload(request: web.Request) -> web.Response:
    """Store bytes under their digest; any size, never held in memory as a whole."""
    client = workbench(request)
    digest = str(Digest.parse(request.match_info["digest"]))
    if await client.has_blob(digest):
        return web.Response(status=200)
    created = await client.put_blob(digest, _pieces(request))
    return web.Response(status=201 if created else 200)


async def _pieces(request: web.Request) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in request.content.iter_any():
            yield piece
    except web.RequestPayloadError:
        raise RequestRefused("unexpected EOF") from None
