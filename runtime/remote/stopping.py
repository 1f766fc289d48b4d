"""Waiting that ends: when what is waited for comes, when its time is up, or when somebody stops the request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

from corral.runtime.errors import RequestCanceled

T = TypeVar("T")


class Stopping:
    """Lets somebody else stop a request while it waits. Close it when the request is over.

    An answer waits once a token: one timer that moves on by itself serves all of these waits, as making one for each
    would cost a fifth of what the token does.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = False
        self._waiting: asyncio.Task[object] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._cut = False

    def stop(self) -> None:
        """Stop the request: what it waits for now ends at once, and it waits for nothing more."""
        self._asked = True
        self._end()

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def asked(self) -> bool:
        """Whether somebody stopped it."""
        return self._asked

    async def pause(self, seconds: float) -> None:
        """Let time pass. Raises RequestCanceled."""
        await self.wait(asyncio.sleep(seconds), math.inf)  # any limit can be up as well where the machine stood still

    async def wait(self, awaitable: Awaitable[T], limit_s: float) -> T:
        """Await something for so many seconds at most; one wait at a time.

        Raises:
            RequestCanceled: somebody stopped the request.
            TimeoutError: the time is up.
        """
        loop = self._loop
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._cut = False
        self._waiting = task
        self._until = loop.time() + (0.0 if self._asked else limit_s)
        if self._timer is None or self._timer.when() > self._until:
            self.close()
            self._timer = loop.call_at(self._until, self._look)
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Whoever else cancels the task meanwhile means more than this wait.
            if self._cut and task.cancelling() <= cancelling + 1:
                raise (RequestCanceled() if self._asked else TimeoutError()) from None
            raise
        finally:
            self._waiting = None
            if self._cut:
                task.uncancel()

    def _look(self) -> None:
        """End the wait whose time is up; the timer was set for an earlier one."""
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._look)
        else:
            self._end()

    def _end(self) -> None:
        if self._waiting is not None and not self._cut:
            self._cut = True
            self._waiting.cancel()
