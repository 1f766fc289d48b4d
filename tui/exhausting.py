"""Streaming verbs of which nobody reads the steps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

__all__ = ["exhaust"]


async def exhaust(stream: AsyncGenerator[object, None]) -> bool:
    """Run a streaming verb to its end, and close it; always True, so that it can be told from a failed one."""
    async with aclosing(stream):
        async for _ in stream:
            pass
    return True
