"""The bridge between Textual's thread and the service's loop.

Verbs run on the service loop; what they stream lands in bounded buffers that the screen's timers empty. So a terminal
that is not read stops the screen and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from msgspec.structs import replace

from corral.runtime.errors import ServerUnreachable
from corral.runtime.snapshot import EMPTY, Snapshot
from corral.runtime.verbs import Chunk, Client, Progress

__all__ = ["LateLink", "ServiceLink", "StreamHandle"]

T = TypeVar("T")

_MERGE_FROM = 64  # items in a buffer above which new ones are merged into the last
_LONGEST_MERGED = 1 << 20  # characters one merged chunk may hold
_MOST_ITEMS = 1024  # items in a buffer above which the stream has to wait for its reader
_STOPPED = "the service has stopped"


def _merged(last: object, new: object) -> object | None:
    """One item that says what both say, or None where there is none."""
    if isinstance(last, Chunk) and isinstance(new, Chunk):
        if last.done_reason is not None or len(last.text) + len(last.thinking) > _LONGEST_MERGED:
            return None
        thinking, text = last.thinking + new.thinking, last.text + new.text
        calls = last.tool_calls + new.tool_calls
        warnings = last.warnings + new.warnings
        return replace(new, thinking=thinking, text=text, tool_calls=calls, warnings=warnings)
    if isinstance(last, Progress) and isinstance(new, Progress):
        return new if (last.status, last.digest) == (new.status, new.digest) else None
    return None


class StreamHandle(Generic[T]):
    """A stream that runs on the service loop and is read by polling.

    The buffer is shared by two threads under a lock; everything else belongs to the service loop.
    """

    def __init__(
        self, client: Client, loop: asyncio.AbstractEventLoop, factory: Callable[[Client], AsyncGenerator[T, None]]
    ) -> None:
        self._client = client
        self._loop = loop
        self._factory = factory
        self._lock = threading.Lock()
        self._items: list[T] = []
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._done = False
        self._error: BaseException | None = None
        self._cancelled = False
        if not _soon(loop, self._start):
            self._error = ServerUnreachable(_STOPPED)
            self._done = True

    def take(self) -> list[T]:
        """Return what has come since the last call; never waits."""
        with self._lock:
            items, self._items = self._items, []
        if len(items) >= _MOST_ITEMS:
            _soon(self._loop, self._room.set)
        return items

    @property
    def done(self) -> bool:
        """Whether nothing more will come. What came before may still have to be taken."""
        return self._done

    @property
    def error(self) -> BaseException | None:
        """What ended the stream, or None for its own end or a cancellation."""
        return self._error

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Stop the stream: its generator is closed on the service loop, `done` follows."""
        self._cancelled = True
        _soon(self._loop, self._cancel)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._pump())
        self._task.add_done_callback(self._ended)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._error = task.exception()
        self._done = True

    async def _pump(self) -> None:
        stream = self._factory(self._client)
        try:
            async for item in stream:
                while not self._put(item):
                    self._room.clear()
                    await self._room.wait()
        finally:
            await stream.aclose()

    def _put(self, item: T) -> bool:
        with self._lock:
            if len(self._items) >= _MERGE_FROM:
                merged = _merged(self._items[-1], item)
                if merged is not None:
                    self._items[-1] = merged  # type: ignore[assignment]
                    return True
            if len(self._items) >= _MOST_ITEMS:
                return False
            self._items.append(item)
            return True


class ServiceLink:
    """What a screen sees of the service. Called from Textual's thread only."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop, *, place: str = "") -> None:
        self._client = client
        self._loop = loop
        self.place = place
        """The address of the server this screen is not part of; "" for the service of this process."""

    def latest(self) -> Snapshot:
        """Return the newest snapshot without waiting."""
        return self._client.latest()

    async def ready(self) -> None:
        """Wait until the service is there; raises what keeps it from that."""

    async def call(self, factory: Callable[[Client], Awaitable[T]]) -> T:
        """Run a verb on the service loop and return what it returns. Cancelling the caller cancels the verb.

        Raises:
            ServerUnreachable: the service has stopped.
            StoreError, RunError: what the verb raises.
        """

        async def run() -> T:
            return await factory(self._client)

        verb = run()
        try:
            future = asyncio.run_coroutine_threadsafe(verb, self._loop)
        except RuntimeError:
            verb.close()
            raise ServerUnreachable(_STOPPED) from None
        return await asyncio.wrap_future(future)

    def stream(self, factory: Callable[[Client], AsyncGenerator[T, None]]) -> StreamHandle[T]:
        """Start a streaming verb on the service loop and return the buffer it fills."""
        return StreamHandle(self._client, self._loop, factory)


class LateLink(ServiceLink):
    """The link to a service that has yet to start: verbs wait for it. `serving` is the address that is taken already.

    `arrive` and `fail` are called once, by any thread.
    """

    def __init__(self, serving: str = "") -> None:
        self.place = ""
        self._first = replace(EMPTY, serving=serving)
        self._arrived: Future[None] = Future()

    def arrive(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        """The service works."""
        self._client, self._loop = client, loop
        self._arrived.set_result(None)

    def fail(self, error: BaseException) -> None:
        """The service will not come; verbs raise `error`."""
        self._arrived.set_exception(error)

    def latest(self) -> Snapshot:
        """Return the newest snapshot, one without anything until the service is there."""
        is_there = self._arrived.done() and self._arrived.exception() is None
        return super().latest() if is_there else self._first

    async def ready(self) -> None:
        """Wait until the service is there; raises what it failed by."""
        await asyncio.shield(asyncio.wrap_future(self._arrived))

    async def call(self, factory: Callable[[Client], Awaitable[T]]) -> T:
        """Run a verb once the service is there."""
        await self.ready()
        return await super().call(factory)

    def stream(self, factory: Callable[[Client], AsyncGenerator[T, None]]) -> StreamHandle[T]:
        """Start a streaming verb; waits for the service, which is there before anybody has typed."""
        self._arrived.result()
        return super().stream(factory)


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> bool:
    """Have the service loop call `callback`; False where it is closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        return False
    return True
