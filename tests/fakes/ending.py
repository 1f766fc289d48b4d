"""Ends servers of the loop that a test runs in, so that nothing of them is left for a later test to be told of."""

from __future__ import annotations

import asyncio

from aiohttp import web

from corral.api.http import accept_no_more


async def end_runner(runner: web.AppRunner) -> None:
    """End a server of aiohttp's, with who connected to it just now."""
    for site in runner.sites:
        server = getattr(site, "_server", None)
        if isinstance(server, asyncio.Server):
            await accept_no_more(server)
    await asyncio.sleep(0)  # in which its protocols are told of the last connections
    await runner.cleanup()


async def end_streams(server: asyncio.Server, writers: set[asyncio.StreamWriter]) -> None:
    """End a server of streams, and the connections that `writers` write to."""
    await accept_no_more(server)
    await asyncio.sleep(0)
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
