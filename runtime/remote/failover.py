"""Which server a request goes to, and where next when that one fails."""

from __future__ import annotations

from corral.runtime.errors import BadRequest, NotSupported
from corral.runtime.remote.failures import Failure, again_in_s, is_down, may_go_elsewhere, told
from corral.runtime.remote.health import Hosts
from corral.runtime.remote.hosts import Host, choose
from corral.runtime.remote.stopping import Stopping

PAUSES_S = (0.2, 0.4, 0.8, 1.6)
"""All servers are asked once before each of these pauses, and once after: one that is started again may be back.
Of one that says when it wants to be asked again, as many of them pass first as that takes."""


class Search:
    """The way of one request from server to server. Every one is asked once a round; rounds are for who was down.

    `_resting` has those that may be asked again, and in how many seconds; `_hopeless` those that may not.
    """

    def __init__(self, known: Hosts, hosts: list[Host], stopping: Stopping) -> None:
        self._known = known
        self._hosts = hosts
        self._stopping = stopping
        self._resting: dict[Host, float] = {}
        self._hopeless: set[Host] = set()
        self._pauses = iter(PAUSES_S)
        self._last: tuple[Host, Failure] | None = None

    async def next(self) -> Host:
        """Return the server to ask now.

        Raises:
            RemoteFailed: none is left; it says what the last one said.
            RequestCanceled: somebody stopped the request.
        """
        host = choose(self._hosts, self._resting.keys() | self._hopeless)
        while host is None:
            assert self._last is not None
            pause_s = self._pause_s()
            if pause_s is None:
                raise told(self._last[0].url, self._last[1]) from None
            await self._stopping.pause(pause_s)
            self._resting = {host: left_s - pause_s for host, left_s in self._resting.items() if left_s > pause_s}
            host = choose(self._hosts, self._resting.keys() | self._hopeless)
        return host

    def _pause_s(self) -> float | None:
        """As much of the pauses as passes until one may be asked again; None where they are too short for that."""
        if not self._resting:
            return None
        soonest_s, pause_s = min(self._resting.values()), 0.0
        for more_s in self._pauses:
            pause_s += more_s
            if pause_s >= soonest_s:
                return pause_s
        return None

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
        after_s = again_in_s(error)
        if after_s is None:
            self._hopeless.add(host)
        else:
            self._resting[host] = after_s
        self._last = (host, error)
