"""Which server a request goes to, and where next when that one fails."""

from __future__ import annotations

from corral.runtime.errors import BadRequest, NotSupported
from corral.runtime.remote.failures import Failure, is_down, may_go_elsewhere, told
from corral.runtime.remote.health import Hosts
from corral.runtime.remote.hosts import Host, choose
from corral.runtime.remote.stopping import Stopping

PAUSES_S = (0.2, 0.4, 0.8, 1.6)
"""All servers are asked once before each of these pauses, and once after: one that is started again may be back."""


class Search:
    """The way of one request from server to server. Every one is asked once a round; rounds are for who was down."""

    def __init__(self, known: Hosts, hosts: list[Host], stopping: Stopping) -> None:
        self._known = known
        self._hosts = hosts
        self._stopping = stopping
        self._tried: set[Host] = set()
        self._hopeless: set[Host] = set()
        self._pauses = iter(PAUSES_S)
        self._last: tuple[Host, Failure] | None = None

    async def next(self) -> Host:
        """Return the server to ask now.

        Raises:
            RemoteFailed: none is left; it says what the last one said.
            RequestCanceled: somebody stopped the request.
        """
        host = choose(self._hosts, self._tried | self._hopeless)
        while host is None:
            assert self._last is not None
            pause_s = next(self._pauses, None)
            if pause_s is None or len(self._hopeless) == len(self._hosts):
                raise told(self._last[0].url, self._last[1]) from None
            await self._stopping.pause(pause_s)
            self._tried.clear()
            host = choose(self._hosts, self._hopeless)
        return host

    def answered(self, host: Host) -> None:
        """Note that a server began to answer."""
        self._known.answered(host)

    def failed(self, host: Host, error: Failure, *, begun: bool) -> None:
        """Note that a server failed.

        Raises:
            RemoteFailed: no other may be asked: the answer had begun, or the request itself is at fault.
        """
        if isinstance(error, (BadRequest, NotSupported)):
            raise error  # ours: the way to that server cannot carry the request
        if is_down(error):
            self._known.failed(host, error)
        if begun or not may_go_elsewhere(error):
            raise told(host.url, error, began=begun) from error
        self._tried.add(host)
        if not is_down(error):
            self._hopeless.add(host)
        self._last = (host, error)
