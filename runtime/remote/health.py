"""The servers we know, and the watch on those that are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from corral.runtime.errors import RunError
from corral.runtime.events import Events
from corral.runtime.remote.failures import Failure, reason_of
from corral.runtime.remote.hosts import Connection, Host
from corral.store.errors import StoreError

CHECK_EVERY_S = 5.0
CHECK_S = 5.0
IN_USE_S = 60.0
"""A server is watched for so long after its last request."""


class Hosts:
    """Owned by the service loop. `connect` gives the way to a server."""

    def __init__(
        self,
        connect: Callable[[str], Connection],
        events: Events,
        clock: Callable[[], float],
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._connect = connect
        self._events = events
        self._clock = clock
        self._check_every_s = check_every_s
        self._hosts: dict[str, Host] = {}
        self._watch: asyncio.Task[None] | None = None

    def use(self, urls: Sequence[str]) -> list[Host]:
        """Return servers, known from now on and watched for as long as they are in use."""
        hosts = []
        for url in urls:
            host = self._hosts.get(url)
            if host is None:
                host = self._hosts[url] = Host(url, self._connect(url))
            host.used_at = self._clock()
            hosts.append(host)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._keep_checking())
        return hosts

    def get(self, url: str) -> Host | None:
        """The server of that address, if it was used."""
        return self._hosts.get(url)

    def answered(self, host: Host, latency_s: float | None = None) -> None:
        """Note that a server did as it should."""
        if host.answered(latency_s):
            self._events.add("remote", f"{host.url} answers again")

    def failed(self, host: Host, error: Failure) -> None:
        """Note that a server did not."""
        if host.failed(reason_of(error)):
            self._events.add("remote", f"{host.url} is passed over: {host.reason}", "warning")

    async def close(self) -> None:
        """End the watch and every connection."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(*(host.connection.close() for host in self._hosts.values()), return_exceptions=True)
        self._hosts.clear()

    def _in_use(self) -> list[Host]:
        since = self._clock() - IN_USE_S
        return [host for host in self._hosts.values() if host.in_flight or host.used_at >= since]

    async def _keep_checking(self) -> None:
        while hosts := self._in_use():
            await asyncio.gather(*map(self._check, hosts))
            await asyncio.sleep(self._check_every_s)

    async def _check(self, host: Host) -> None:
        began = self._clock()
        try:
            async with asyncio.timeout(CHECK_S):
                await host.connection.check()
        except (RunError, StoreError, TimeoutError) as error:
            self.failed(host, error)
        else:
            self.answered(host, self._clock() - began)
