"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0
"""Nothing is claimed by it: where others have the processors a program may take half a minute to start."""


async def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fails the test when it does not in time."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.005)


async def until_true(condition: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """As `until`, for a condition that must be awaited."""
    async with asyncio.timeout(patience_s):
        while not await condition():
            await asyncio.sleep(0.01)


def block_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """As `until`, for tests without a loop."""
    give_up = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {patience_s:g} s")
        time.sleep(0.01)
