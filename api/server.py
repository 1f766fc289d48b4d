"""The service: a thread with its own loop that holds the workbench and, where it serves, the HTTP server.

Nothing of the HTTP server is imported until it serves, so that a command that needs no socket starts at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from corral.api.errors import AnonymousRefused, SettingsRefused, join_address
from corral.api.listen import bind
from corral.api.tls import server_tls
from corral.runtime.settings import Settings

if TYPE_CHECKING:
    import socket
    import ssl

    from corral.api.http import HttpServer
    from corral.api.served import ServedClient
    from corral.runtime.remote.hosts import Connection

DRAIN_S = 10.0
_JOIN_S = 30.0


class Service:
    """Everything that must go on while no screen is drawn.

    Owned by the thread that starts it; `client` and `loop` are there once `start` has returned, and verbs run on that
    loop only. `serving=False` opens no socket. `warm` says whether an engine is kept ready before a model is asked
    for; by default where it serves.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        serving: bool = True,
        warm: bool | None = None,
        workbench: Callable[[Settings], ServedClient] | None = None,
    ) -> None:
        self._settings = settings
        self._serving = serving
        self._warm = serving if warm is None else warm
        self._make_workbench = workbench or self._own_workbench
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: ServedClient | None = None
        self._stop: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._drain_s = DRAIN_S
        self._given_up = False
        self._listener: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self.address = ""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop verbs run on."""
        assert self._loop is not None, "the service has not started"
        return self._loop

    @property
    def client(self) -> ServedClient:
        """The workbench."""
        assert self._client is not None, "the service has not started"
        return self._client

    @property
    def base_url(self) -> str:
        """What a client on this machine calls; "" where nothing listens."""
        host, _, port = self.address.rpartition(":")
        called = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        scheme = "https" if self._settings.tls_cert else "http"
        return f"{scheme}://{called}:{port}" if port else ""

    def listen(self) -> None:
        """Take the address, where it serves; who connects from now on waits for `start`. Quick, and imports nothing.

        Raises:
            PortTaken, CannotListen: the address cannot be had.
            SettingsRefused: the file of settings has mistakes.
            AnonymousRefused: others could reach the address and no key is set.
            TlsFailed: the certificate or its key cannot be used.
        """
        settings = self._settings
        if not self._serving or self._listener is not None:
            return
        if settings.faults:
            raise SettingsRefused(settings.faults)
        if not (settings.loopback or settings.api_keys or settings.allow_anonymous):
            raise AnonymousRefused(settings.listen_host)
        self._tls = server_tls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
        self._listener = bind(settings.listen_host, settings.listen_port)
        self.address = join_address(settings.listen_host, self._listener.getsockname()[1])

    def start(self) -> None:
        """Start the thread and wait until it works; where it serves, until the socket listens.

        Raises:
            PortTaken, CannotListen, SettingsRefused, AnonymousRefused, TlsFailed: as `listen` does, where that was not
                called before.
            InvalidOrigin: an entry of the allowed origins is none.
        """
        self.listen()
        settings, listener, tls = self._settings, self._listener, self._tls
        ready: Future[None] = Future()

        async def live() -> None:
            try:
                server = None
                if listener is not None:
                    from corral.api.http import HttpServer

                    server = HttpServer(settings, listener, tls=tls)
                await self._live(server, ready)
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)
            finally:
                if listener is not None:
                    listener.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(live()), name="corral-service", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            # It failed, or Ctrl-C came while we waited; then the thread has yet to be told.
            self._given_up = True
            self._signal(self._stop)
            self._thread.join(_JOIN_S)
            raise

    async def _live(self, server: HttpServer | None, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        if self._given_up:
            self._stop.set()
        workbench = self._make_workbench(self._settings)
        await workbench.start(self.address)
        try:
            if server is not None:
                await server.start(workbench)
            self._client = workbench
            ready.set_result(None)
            await self._stop.wait()
            if server is not None:
                await server.drain(self._drain_s, self._hurry)
        finally:
            if server is not None:
                await server.close()
            await workbench.close()

    def _own_workbench(self, settings: Settings) -> ServedClient:
        from corral.runtime.workbench import Workbench

        return Workbench(settings, warm=self._warm, connect=_ways(settings.remote_keys))

    def stop(self, drain_s: float = DRAIN_S) -> None:
        """Take no more requests, give those at work `drain_s` seconds, then end them, the workbench and the thread."""
        self._drain_s = drain_s
        self._signal(self._stop)
        if self._thread is not None:
            self._thread.join(drain_s + _JOIN_S)
        elif self._listener is not None:
            self._listener.close()

    def stop_now(self) -> None:
        """Cut short what a `stop` still waits for; from any thread."""
        self._signal(self._hurry)
        self._signal(self._stop)

    def _signal(self, event: asyncio.Event | None) -> None:
        if self._loop is not None and event is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, perhaps this moment
                self._loop.call_soon_threadsafe(event.set)


def _ways(keys: Sequence[tuple[str, str]]) -> Callable[[str], Connection]:
    """Return what makes ways to servers elsewhere; it is read in when the first one is wanted."""

    def connect(url: str) -> Connection:
        from corral.api.engines.connection import Connections

        return Connections(keys)(url)

    return connect
