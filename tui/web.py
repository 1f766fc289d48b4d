"""The workbench in a browser: textual-serve behind a token, each page with a screen of its own on the service.

Who can open the page can do all that the keys can. So the page is asked for with a token, which becomes a cookie; only
names of this machine are answered to (or a page elsewhere could reach it through a name of its own), and only pages of
its own may open the line to a screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import shlex
import signal
import sys
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

__all__ = ["WebServer", "page_url"]

MOST_SCREENS = 8
"""Pages that are open at the same time: each is a process."""
_COOKIE = "corral_screen"
# The page of textual-serve would fetch a font from elsewhere; its scripts and styles stand in it.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'"
)
_MONTH_S = 30 * 24 * 3600
_ASK = "Open the address that `corral web` printed: it carries the token.\n"


def page_url(host: str, port: int, token: str) -> str:
    """The address to open."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/?token={token}"


class WebServer(Server):
    """Serves screens of the service at `base_url`. `tokens` are what a page may bring, any of them."""

    def __init__(
        self, base_url: str, host: str, port: int, tokens: tuple[str, ...], *, read_only: bool = False
    ) -> None:
        program = "from corral.tui.cli import main; raise SystemExit(main())"
        words = [sys.executable, "-c", program, "attach", base_url, *(["--read-only"] if read_only else [])]
        super().__init__(shlex.join(words), host, port, title="Corral")
        self._tokens = tokens
        self._screens = 0

    def serve(self, debug: bool = False) -> None:
        """Serve until a signal; says where the page is once it can be opened, which the library's own did before.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.new_event_loop()
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.request_exit)
        app = self._make_app()
        web.run_app(app, host=self.host, port=self.port, handle_signals=False, loop=loop, print=self._tell)

    def _tell(self, _: str) -> None:
        print(f"The workbench is at {page_url(self.host, self.port, self._tokens[0])}", flush=True)

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing yet: nobody listens before this has returned."""

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._check)
        app.on_response_prepare.append(_add_headers)
        return app

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_ours(request.host):
            return web.Response(status=403, text=f"This is not {request.host}\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return web.Response(status=403, text="Pages from elsewhere are not answered\n")
        token = request.query.get("token", "")
        if token and request.path == "/" and self._is_token(token):
            page = web.HTTPFound("/")
            page.set_cookie(_COOKIE, token, max_age=_MONTH_S, httponly=True, samesite="Strict")
            raise page
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not (self._is_token(request.cookies.get(_COOKIE, "")) or self._is_token(bearer)):
            return web.Response(status=401, text=_ASK)
        return await handler(request)

    def _is_token(self, given: str) -> bool:
        return any([hmac.compare_digest(given.encode(), one.encode()) for one in self._tokens])

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names us: an address, localhost, or the name that is listened on."""
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", self.host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """Serve the page, with addresses as this browser knows them: a tunnel has another port."""
        self.public_url = f"{request.scheme}://{request.host}"
        page: web.StreamResponse = await super().handle_index(request)
        return page

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Open a screen for a page.

        Raises:
            HTTPServiceUnavailable: there are too many.
        """
        if self._screens >= MOST_SCREENS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_SCREENS} screens are open already\n")
        self._screens += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._screens -= 1


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
