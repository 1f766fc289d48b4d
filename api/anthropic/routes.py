"""Which path of the Anthropic-compatible API is answered by what (spec c)."""

from __future__ import annotations

from aiohttp import web

from corral.api.anthropic import messages


def routes() -> list[web.RouteDef]:
    """Return the routes of the Anthropic-compatible API."""
    return [
        web.post("/v1/messages", messages.messages),
        web.post("/v1/messages/count_tokens", messages.count_tokens),
    ]
