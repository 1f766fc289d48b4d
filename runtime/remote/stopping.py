"""Waiting that ends: when what is waited for comes, when its time is up, or when somebody stops the request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from corral.runtime.errors import RequestCanceled

T = TypeVar("T")


class Stopping:
    """Lets somebody else stop a request while it waits. Costs one timer a wait, and no task."""

    def __init__(self) -> None:
        self._asked = False
        self._scope: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Stop the request: what it waits for now ends at once, and it waits for nothing more."""
        self._asked = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    @property
    def asked(self) -> bool:
        """Whether somebody stopped it."""
        return self._asked

    async def pause(self, seconds: float) -> None:
        """Let time pass. Raises RequestCanceled."""
        await self.wait(asyncio.sleep(seconds), seconds + 1)

    async def wait(self, awaitable: Awaitable[T], limit_s: float) -> T:
        """Await something for so many seconds at most.

        Raises:
            RequestCanceled: somebody stopped the request.
            TimeoutError: the time is up.
        """
        try:
            async with asyncio.timeout(0 if self._asked else limit_s) as self._scope:
                return await awaitable
        except TimeoutError:
            if self._asked:
                raise RequestCanceled from None
            raise
        finally:
            self._scope = None
