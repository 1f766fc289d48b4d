"""Answers that come piece by piece: NDJSON and server-sent events, with back-pressure both ways.

A reader that is slow makes the generator wait; one that is gone closes it, and so cancels what it stood for. Nothing is
sent before the first piece is there, so an error until then has its real status. Server-sent events are the exception:
whoever waits long for one gets comments, so that no proxy between takes the connection for dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from corral.api.errors import Problem, describe, is_expected
from corral.api.keys import ACTIVITY, CANCELED, NOTE
from corral.api.outgoing import send_now

T = TypeVar("T")

log = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 60.0
"""How long a reader may take nothing at all before it is cut."""
KEEP_ALIVE_S = 10.0
"""How long server-sent events may be silent before a comment is sent."""
_KEEP_ALIVE = b": keep-alive\n\n"
_LAST_WORDS_S = 2.0
SHUTTING_DOWN = Problem(503, "the server is shutting down")


@dataclass(frozen=True, slots=True)
class Wire:
    """A format of streams: its Content-Type, further headers, an error as bytes, and how a good stream ends."""

    content_type: str
    error: Callable[[Problem], bytes]
    headers: Mapping[str, str]
    end: bytes = b""

    @property
    def takes_comments(self) -> bool:
        """Whether something can be sent that is no part of the answer."""
        return self.content_type.startswith("text/event-stream")


class _Sink:
    """The response of one stream: opened once, by whoever has something to send first."""

    def __init__(self, request: web.Request, wire: Wire, clock: Callable[[], float]) -> None:
        self.request = request
        self.response = web.StreamResponse(headers={"Content-Type": wire.content_type, **wire.headers})
        self._clock = clock
        self._opening = asyncio.Lock()
        self.sent_s = clock()

    async def open(self) -> None:
        """Send the head, unless it is sent already."""
        async with self._opening:
            await self.response.prepare(self.request)

    async def send(self, lines: Iterable[bytes]) -> None:
        """Send a piece."""
        self.sent_s = self._clock()
        await _send(self.request, self.response, lines)

    async def beat(self) -> None:
        """Send a comment whenever nothing else was sent for `KEEP_ALIVE_S`."""
        while True:
            silent_s = self._clock() - self.sent_s
            if silent_s < KEEP_ALIVE_S:
                await asyncio.sleep(KEEP_ALIVE_S - silent_s)
                continue
            with contextlib.suppress(ConnectionError):  # the stream itself is told, when it sends next
                await self.open()
                await self.send((_KEEP_ALIVE,))


@asynccontextmanager
async def _kept_alive(sink: _Sink, wire: Wire) -> AsyncGenerator[None, None]:
    beats = asyncio.create_task(sink.beat()) if wire.takes_comments else None
    try:
        yield
    finally:
        if beats is not None:
            beats.cancel()


async def respond(
    request: web.Request,
    wire: Wire,
    pieces: AsyncGenerator[T, None],
    encode: Callable[[T], Iterable[bytes]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> web.StreamResponse:
    """Send what a verb yields. Each piece becomes any number of lines or events, sent at once.

    Raises:
        StoreError, RunError: the verb failed before anything was sent.
    """
    sink = _Sink(request, wire, clock)
    response = sink.response
    async with aclosing(pieces), _kept_alive(sink, wire):
        try:
            first = await anext(pieces, None)
            await sink.open()
            if first is not None:
                await sink.send(encode(first))
                send_now(request.transport)
                async for piece in pieces:
                    await sink.send(encode(piece))
            await sink.send((wire.end,))
            await _taken(request, response.write_eof())
        except ConnectionError:  # nobody is left to be told
            request[NOTE] = request[NOTE] or "client went away"
            request[CANCELED] = True
        except asyncio.CancelledError:
            if not request.app[ACTIVITY].stopping or not response.prepared:
                raise
            take_back_cancellation()
            await _end_with_error(request, response, wire, SHUTTING_DOWN)
        except Exception as error:
            if not response.prepared:
                raise
            if not is_expected(error):
                log.exception("%s %s failed in the middle of its answer", request.method, request.path)
            await _end_with_error(request, response, wire, describe(error))
    # What is sent goes out with this turn of the loop: the answer's end before its row is closed, counted and logged.
    await asyncio.sleep(0)
    return response


async def _send(request: web.Request, response: web.StreamResponse, lines: Iterable[bytes]) -> None:
    data = b"".join(lines)
    if data:
        await _taken(request, response.write(data))


async def _taken(request: web.Request, sending: Awaitable[None]) -> None:
    """Wait until something is sent, or taken by the system in part. Raises ConnectionResetError: it is not."""
    if request.transport is not None and request.transport.get_write_buffer_size() == 0:
        await sending  # waits for nobody; a timer a token would cost more than the sending
        return
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await sending
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
