"""The service of another process as a screen sees it: verbs and snapshots over HTTP, on a loop of their own.

Nothing is asked unless a screen looks: each look returns what is there and asks for newer.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from msgspec.structs import replace

from corral.api.client import HttpClient
from corral.runtime.errors import RunError, ServerUnreachable
from corral.runtime.server_address import parse_host
from corral.runtime.snapshot import EventView, Snapshot
from corral.runtime.verbs import Client
from corral.store.errors import StoreError
from corral.tui.link import ServiceLink
from corral.tui.read_only import guarded

__all__ = ["Places", "RemoteLink", "RemoteService", "end_tasks", "how_it_answers"]

_JOIN_S = 5.0
_DENIED = (401, 403)
_PATIENCE_S = 10.0
"""How long a snapshot may take; a line that is cut silently would never tell."""


class RemoteService:
    """A thread with the loop on which a server is asked. Owned by the thread that starts it."""

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self.client = HttpClient(base_url, api_key)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="corral-remote", daemon=True)

    def start(self) -> None:
        """Start the thread; nothing is asked yet."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(_JOIN_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_JOIN_S)
        if not self._thread.is_alive():
            self.loop.close()

    async def _end(self) -> None:
        await end_tasks()
        await self.client.close()


async def end_tasks() -> None:
    """Cancel every other task of this loop and wait for its end.

    Not before each has begun: anyio's tasks carry a coroutine that nobody would ever await else, and Python would say
    so on the terminal.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    while any(_is_new(task) for task in others):
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _is_new(task: asyncio.Task[object]) -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


class RemoteLink(ServiceLink):
    """The link to a server. `client` is what verbs are called on where that is more than the server's own client."""

    def __init__(self, service: RemoteService, client: Client | None = None) -> None:
        super().__init__(client or service.client, service.loop, place=service.client.base_url)
        self._server = service.client
        self._shown: Snapshot = service.client.latest()
        self._is_asking = False

    def meet(self) -> None:
        """Wait for the first snapshot, so that a server that is not there is told before a screen opens.

        Raises:
            RunError: nobody answers, or without a key that is missing.
        """
        self.first().result()

    def first(self) -> Future[None]:
        """Ask for the first snapshot; the future fails as `meet` does."""

        async def ask() -> None:
            self._shown = await self._newest()

        return asyncio.run_coroutine_threadsafe(ask(), self._loop)

    def latest(self) -> Snapshot:
        """Return what is known, and ask for newer."""
        if not self._is_asking:
            self._is_asking = True
            try:
                asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
            except RuntimeError:
                self._is_asking = False
        return self._shown

    async def _ask(self) -> None:
        try:
            self._shown = await self._newest()
        except (RunError, StoreError) as error:
            self._shown = self._in_trouble(str(error))
        finally:
            self._is_asking = False

    async def _newest(self) -> Snapshot:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return replace(await self._server.refresh(), serving=self.place)
        except TimeoutError:
            raise ServerUnreachable(f"no answer from {self.place} within {_PATIENCE_S:g} s") from None

    def _in_trouble(self, why: str) -> Snapshot:
        """The last snapshot, with what went wrong as its newest event."""
        shown = self._shown
        if shown.trouble == why:
            return shown
        event = EventView(time.time(), "error", "server", why)
        return replace(shown, trouble=why, events=(event, *shown.events))


class Places:
    """Where a screen can look: the service it was opened on, and servers it was sent to. Owned by Textual's thread."""

    def __init__(self, home: ServiceLink, environ: Mapping[str, str]) -> None:
        self._home = home
        self._api_key = environ.get("CORRAL_API_KEY", "").split(",")[0].strip()
        self._away: RemoteService | None = None

    async def link_to(self, place: str, *, read_only: bool) -> ServiceLink:
        """Return the link to a server, once it has answered; "" is the service the screen was opened on.

        Raises:
            ServerUnreachable, RemoteFailed: it does not answer, or wants a key.
        """
        if not place or place == self._home.place:
            self.close()
            return self._home
        service = RemoteService(parse_host(place, lambda warning: None).url, self._api_key)
        service.start()
        link = RemoteLink(service, guarded(service.client, read_only=read_only))
        try:
            await asyncio.wrap_future(link.first())
        except BaseException:
            service.stop()
            raise
        self.close()
        self._away = service
        return link

    def close(self) -> None:
        """Let go of the server elsewhere."""
        if self._away is not None:
            self._away.stop()
            self._away = None


async def how_it_answers(url: str, api_key: str) -> str:
    """Say in a few words whether a server answers, as what, and how fast. Never fails."""

    async def ask() -> str:
        client = HttpClient(url, api_key)
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                version = await client.version()
                took_ms = (time.monotonic() - began) * 1000
                kind = "Corral" if await client.settings() else "Ollama"
            return f"● {kind}, API {version}, {took_ms:.0f} ms"
        except TimeoutError:
            return "✗ no answer in time"
        except (RunError, StoreError) as error:
            return "! wants a key" if getattr(error, "status", 0) in _DENIED else f"✗ {error}"
        finally:
            await client.close()

    return await asyncio.to_thread(lambda: asyncio.run(ask()))
