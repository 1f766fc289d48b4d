"""The routes about an account with Ollama's cloud, of which there is none here (spec a.19): told as one signed out."""

from __future__ import annotations

from aiohttp import web

from corral.api.errors import NotSignedIn, RequestRefused
from corral.api.reply import json_reply


async def me(request: web.Request) -> web.Response:
    """Say that nobody is signed in."""
    raise NotSignedIn("unauthorized", "https://ollama.com/connect")


async def signout(request: web.Request) -> web.Response:
    """Say that nobody was signed in."""
    raise RequestRefused("you are not currently signed in", 401)


async def web_search(request: web.Request) -> web.Response:
    """Say that nothing is asked of the cloud."""
    raise RequestRefused("ollama cloud is disabled: web search is unavailable", 403)


async def web_fetch(request: web.Request) -> web.Response:
    """Say that nothing is asked of the cloud."""
    raise RequestRefused("ollama cloud is disabled: web fetch is unavailable", 403)


async def recommendations(request: web.Request) -> web.Response:
    """Recommend no models; Ollama's server has a list of its cloud's."""
    return json_reply({"recommendations": []})
