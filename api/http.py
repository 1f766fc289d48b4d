"""The HTTP server around the application: connections, their limits, and an end that lets answers finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from ssl import SSLContext

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from corral.api.app import build
from corral.api.keys import ACTIVITY, Activity
from corral.api.listen import BACKLOG
from corral.api.outgoing import GatheredConnection, Outgoing
from corral.api.served import ServedClient
from corral.runtime.settings import Settings

HEADER_TIMEOUT_S = 10.0
"""How long a new connection may take until its first request is there."""
KEEPALIVE_S = 75.0
_LAST_WORDS_S = 3.0

log = logging.getLogger("corral.http")


class _NoStrangersTraces(logging.Filter):
    """Makes one quiet line of what aiohttp logs as an error with its trace: that somebody sent what is no HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            return True
        reason = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), type(error).__name__)
        log.debug("a request was no HTTP: %s", reason)
        return False


log.addFilter(_NoStrangersTraces())


class HttpServer:
    """Serves a workbench on a socket that listens already. Owned by the service loop."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        *,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        tls: SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._header_timeout_s = header_timeout_s
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._activity = Activity()
        self._outgoing = Outgoing()

    async def start(self, workbench: ServedClient) -> None:
        """Begin to accept.

        Raises:
            InvalidOrigin: an entry of the allowed origins is none.
        """
        app = build(self._settings, workbench)
        self._activity = app[ACTIVITY]
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=log,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connect,
            sock=self._listener,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=self._header_timeout_s if self._tls is not None else None,
        )

    def _connect(self) -> asyncio.Protocol:
        """Make the protocol of a new connection, and look after it until its first request has come."""
        assert self._runner is not None
        assert self._runner.server is not None
        protocol = self._runner.server()
        # aiohttp waits for headers as long as for the next request on a connection; a client that sends one byte
        # at a time could hold thousands of connections that way.
        loop = asyncio.get_running_loop()
        self._activity.silent[protocol] = loop.call_later(self._header_timeout_s, self._close_silent, protocol)
        return GatheredConnection(protocol, self._outgoing)

    def _close_silent(self, protocol: web.RequestHandler) -> None:
        del self._activity.silent[protocol]
        if protocol.transport is not None:
            protocol.transport.close()

    async def drain(self, limit_s: float, hurry: asyncio.Event) -> None:
        """Accept no more, and wait until no handler is at work, `limit_s` are over, or `hurry` is set.

        Streams that are still open then end with an error.
        """
        if self._server is not None:
            await accept_no_more(self._server)
        await self._until_idle(limit_s, hurry)
        self._activity.stopping = True
        for handler in tuple(self._activity.handlers):
            handler.cancel()
        await self._until_idle(_LAST_WORDS_S, asyncio.Event())

    async def _until_idle(self, limit_s: float, hurry: asyncio.Event) -> None:
        async def idle() -> None:
            while self._activity.handlers:
                self._activity.idle.clear()
                await self._activity.idle.wait()

        waits = [asyncio.ensure_future(idle()), asyncio.ensure_future(hurry.wait())]
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def close(self) -> None:
        """Close every connection."""
        if self._server is not None:
            await accept_no_more(self._server)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._outgoing.abort()


async def accept_no_more(server: asyncio.Server) -> None:
    """Close what a server listens on, and leave it the connections that it has accepted.

    A loop on selectors makes the transport of one a turn after that, and leaves it unclosed where the server is closed
    by then (`asyncio.Server._attach`).
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        with contextlib.suppress(NotImplementedError):  # by loops of another kind
            loop.remove_reader(listener.fileno())
    await asyncio.sleep(0)
    server.close()
