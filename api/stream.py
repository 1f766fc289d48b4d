"""Answers that come piece by piece: NDJSON and server-sent events, with back-pressure both ways.

A reader that is slow makes the generator wait; one that is gone closes it, and so cancels what it stood for. Nothing is
sent before the first piece is there, so an error until then has its real status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from corral.api.errors import Problem, describe, is_expected
from corral.api.keys import ACTIVITY, CANCELED, NOTE

T = TypeVar("T")

log = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 60.0
"""How long a reader may take nothing at all before it is cut."""
_LAST_WORDS_S = 2.0
SHUTTING_DOWN = Problem(503, "the server is shutting down")


@dataclass(frozen=True, slots=True)
class Wire:
    """A format of streams: its Content-Type, further headers, an error as bytes, and how a good stream ends."""

    content_type: str
    error: Callable[[Problem], bytes]
    headers: Mapping[str, str]
    end: bytes = b""


async def respond(
    request: web.Request, wire: Wire, pieces: AsyncGenerator[T, None], encode: Callable[[T], Iterable[bytes]]
) -> web.StreamResponse:
    """Send what a verb yields. Each piece becomes any number of lines or events, sent at once.

    Raises:
        StoreError, RunError: the verb failed before its first piece.
    """
    async with aclosing(pieces):
        first = await anext(pieces, None)
        response = web.StreamResponse(headers={"Content-Type": wire.content_type, **wire.headers})
        try:
            await response.prepare(request)
            if first is not None:
                await _send(request, response, encode(first))
                async for piece in pieces:
                    await _send(request, response, encode(piece))
            await _send(request, response, (wire.end,))
        except ConnectionError:  # nobody is left to be told
            request[NOTE] = request[NOTE] or "client went away"
            request[CANCELED] = True
        except asyncio.CancelledError:
            if not request.app[ACTIVITY].stopping:
                raise
            take_back_cancellation()
            await _end_with_error(request, response, wire, SHUTTING_DOWN)
        except Exception as error:
            if not is_expected(error):
                log.exception("%s %s failed in the middle of its answer", request.method, request.path)
            await _end_with_error(request, response, wire, describe(error))
    return response


async def _send(request: web.Request, response: web.StreamResponse, lines: Iterable[bytes]) -> None:
    data = b"".join(lines)
    if not data:
        return
    if request.transport is not None and request.transport.get_write_buffer_size() == 0:
        await response.write(data)  # waits for nobody; a timer a token would cost more than the sending
        return
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        request[NOTE] = f"client read nothing for {WRITE_TIMEOUT_S:.0f} s"
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(request[NOTE]) from None


async def _end_with_error(request: web.Request, response: web.StreamResponse, wire: Wire, problem: Problem) -> None:
    request[NOTE] = problem.message
    request[CANCELED] = problem.status == 499
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await response.write(wire.error(problem))
    except ConnectionError:
        return
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


def take_back_cancellation() -> None:
    """Take a cancellation back, so that the last words can be sent."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
