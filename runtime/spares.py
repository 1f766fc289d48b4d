"""One idle runner kept warm, so that a load costs the load and not an interpreter's start and llama.cpp's import."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from corral.runtime.errors import LoadFailed
from corral.runtime.runner import Runner

REFILL_AFTER_S = 3.0
"""The next spare starts when the load that took the last one has had the processors to itself for a while."""


class Spares:
    """Holds at most one started child. Owned by the service loop."""

    def __init__(self, start: Callable[[], Awaitable[Runner]]) -> None:
        self._start = start
        self._spare: asyncio.Task[Runner] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def warm(self, after_s: float = REFILL_AFTER_S) -> None:
        """Have a child ready some time from now."""
        if self._timer is None and self._spare is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(after_s, self._begin)

    async def take(self) -> Runner:
        """Return the spare, or start a child where there is none; another one is started later.

        Raises:
            LoadFailed: a child could not be started.
        """
        spare, self._spare = self._spare, None
        self.warm()
        if spare is not None:
            try:
                runner = await spare
            except asyncio.CancelledError:
                spare.add_done_callback(_close_unwanted)
                spare.cancel()
                raise
            except LoadFailed:
                return await self._start()
            if runner.alive:
                return runner
            await runner.close()
        return await self._start()

    async def close(self) -> None:
        """End the spare."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._spare is not None:
            self._spare.cancel()
            result = (await asyncio.gather(self._spare, return_exceptions=True))[0]
            if isinstance(result, Runner):
                await result.close()

    def _begin(self) -> None:
        self._timer = None
        if not self._closed and self._spare is None:
            self._spare = asyncio.ensure_future(self._start())
            self._spare.add_done_callback(_say_nothing)


def _say_nothing(task: asyncio.Task[Runner]) -> None:
    """A spare that does not start is no news; the load that needs a child starts one and says what is wrong."""
    if not task.cancelled():
        task.exception()


def _close_unwanted(task: asyncio.Task[Runner]) -> None:
    """A child that came up after its taker had gone."""
    if not task.cancelled() and task.exception() is None:
        task.result().kill()
