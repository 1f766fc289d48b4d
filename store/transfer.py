"""Bringing the bytes of one file in: parallel ranges, split while they run, tried again, checked, shared.

Several connections work on one file. Whoever is done takes half of what another still has to do, so the end is not one
slow connection's. What came is kept whatever happens, and is not asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from corral.store.blobs import Blob
from corral.store.disk import disk_errors
from corral.store.errors import DigestMismatch, SourceError, StoreError
from corral.store.names import Digest
from corral.store.partial import Partial
from corral.store.paths import StorePaths
from corral.store.ranges import Span
from corral.store.retry import Again, Attempts, Patience, RateLimit

_SYNC_BYTES = 64 << 20
_POLL_S = 0.2
_WRITE_S = 0.5
_MOST_TURNS = 3
_SLOW_SHARE = 1 / 16
_LEAST_MEASURED_S = 0.2

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes. `whole` says that the other side ignored the range: they begin with the file's first."""

    chunks: AsyncIterator[bytes]
    whole: bool = False


class Origin(Protocol):
    """Where the bytes of one file can be had."""

    def open(self, span: Span) -> AbstractAsyncContextManager[Body]:
        """Ask for a range.

        Raises:
            Again: it failed in a way that may pass; also while the bytes come.
            SourceError: it will not come.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How a file is taken apart; sizes in bytes. A range is split only if both halves have `least_split`.

    `write` is the most that a connection holds in memory, and must not be more than `least_split`.
    """

    connections: int = 8
    request: int = 64 << 20
    least_split: int = 4 << 20
    write: int = 1 << 20


@dataclass(eq=False, slots=True)
class _Segment:
    """What one connection is to bring: from `position`, up to which it has written, to `end`."""

    position: int
    end: int
    turns: int = 0

    @property
    def left(self) -> int:
        return self.end - self.position


class Download:
    """One file on its way into the blobs folder. Owned by one loop; files are touched in threads.

    `expected` is what the bytes must hash to, None where nobody knows; then `key` tells it from other downloads, and
    `identity` one content of its address from the next. `check` looks at the file before it gets its name.
    """

    def __init__(
        self,
        paths: StorePaths,
        origin: Origin,
        size: int,
        expected: Digest | None,
        *,
        key: Digest | None = None,
        identity: str = "",
        limit: RateLimit | None = None,
        patience: Patience | None = None,
        pace: Pace | None = None,
        check: Callable[[Partial], None] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._paths = paths
        self._origin = origin
        self._size = size
        self._expected = expected
        self._key = key or expected
        self._identity = identity
        self._limit = limit or RateLimit(0)
        self._patience = patience or Patience()
        self._pace = pace or Pace()
        self._check = check
        self._clock = clock
        self._gaps: list[Span] = []
        self._active: list[_Segment] = []
        self._unsynced: list[Span] = []
        self._syncing = False
        self._whole = False
        self._best_rate = 0.0
        self._not_before = 0.0
        self.completed = 0

    async def run(self) -> Blob:
        """Bring it in, once more if other bytes came; a task that is cancelled keeps what came for the next time.

        Raises:
            SourceError: the other side fails for good.
            DigestMismatch: it sent other bytes than it announced, twice.
            NoSpace, StoreReadOnly, StoreError: the store cannot take it.
        """
        try:
            return await self._bring_in()
        except DigestMismatch:
            # There are no hashes of pieces to tell which of them is wrong, or whether it was there before.
            self._whole = False
        try:
            return await self._bring_in()
        except DigestMismatch as error:
            raise DigestMismatch(error.expected, error.actual, again=True) from None

    async def _bring_in(self) -> Blob:
        partial = await self._held()
        if isinstance(partial, Blob):
            self.completed = partial.size
            return partial
        try:
            self.completed = partial.ranges.total
            self._gaps = partial.ranges.missing(self._size)
            if self._gaps:
                await self._fetch_all(partial)
            await self._sync(partial, everything=True)
            if self._check is not None:
                await asyncio.to_thread(self._check, partial)
            return await asyncio.to_thread(partial.commit, self._expected)
        finally:
            await asyncio.to_thread(partial.close, self._unsynced)

    async def _held(self) -> Partial | Blob:
        """The file to write into, or the blob that another process has made of it meanwhile."""
        assert self._key is not None
        while True:
            partial = await self._opened(self._key)
            if partial is not None:
                return partial
            await asyncio.sleep(_POLL_S)
            if self._expected is not None and await asyncio.to_thread(_holds, self._paths, self._expected, self._size):
                return Blob(self._expected, self._size)

    async def _opened(self, key: Digest) -> Partial | None:
        opening = asyncio.ensure_future(asyncio.to_thread(Partial.open, self._paths, key, self._size, self._identity))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread goes on; a file that nobody closes would stay locked for as long as this process lives.
            with contextlib.suppress(StoreError):
                late = await opening
                if late is not None:
                    await asyncio.to_thread(late.close)
            raise

    async def _fetch_all(self, partial: Partial) -> None:
        """Let the first connection find out how things stand, then as many as there is work for."""
        first = self._claim()
        assert first is not None
        answered = asyncio.Event()
        workers = {asyncio.create_task(self._work(partial, first, answered))}
        begun = asyncio.create_task(answered.wait())
        try:
            await asyncio.wait({*workers, begun}, return_when=asyncio.FIRST_COMPLETED)
            while workers:
                if not self._whole:
                    while len(workers) < self._pace.connections and (segment := self._claim()) is not None:
                        workers.add(asyncio.create_task(self._work(partial, segment, answered)))
                done, workers = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                for worker in done:
                    worker.result()
        finally:
            for task in (*workers, begun):
                task.cancel()
            await asyncio.gather(*workers, begun, return_exceptions=True)

    def _claim(self) -> _Segment | None:
        """Something to do: a gap, else half of the longest piece another has."""
        if self._gaps:
            segment = _Segment(*self._gaps.pop(0))
        else:
            longest = max(self._active, key=lambda one: one.left, default=None)
            if longest is None or longest.left < 2 * self._pace.least_split:
                return None
            middle = longest.position + longest.left // 2
            segment = _Segment(middle, longest.end)
            longest.end = middle
        self._active.append(segment)
        return segment

    async def _work(self, partial: Partial, segment: _Segment, answered: asyncio.Event) -> None:
        """Bring one segment in, however many requests that takes."""
        attempts = Attempts(self._patience)
        try:
            while segment.left > 0:
                before = segment.position
                await asyncio.sleep(max(0.0, self._not_before - self._clock()))
                try:
                    await self._request(partial, segment, answered)
                except Again as error:
                    if segment.position > before:
                        attempts.succeeded()
                    wait_s = attempts.wait_s(error)
                    if error.after_s is not None:
                        # Who is asked to slow down slows down with all its connections.
                        self._not_before = max(self._not_before, self._clock() + wait_s)
                    await asyncio.sleep(wait_s)
                else:
                    attempts.succeeded()
        finally:
            self._active.remove(segment)

    async def _request(self, partial: Partial, segment: _Segment, answered: asyncio.Event) -> None:
        """Bring in as much of a segment as one request does."""
        end = segment.end if self._whole else min(segment.end, segment.position + self._pace.request)
        async with self._origin.open(Span(segment.position, end)) as body:
            skip = 0
            if body.whole and (segment.position, end) != (0, self._size):
                skip = segment.position
                self._take_over(segment)
            self._whole = self._whole or body.whole
            answered.set()
            await self._receive(partial, segment, body, skip, self._size if body.whole else end)
        if segment.position < min(end, segment.end):
            raise Again("the server closed the connection early")

    def _take_over(self, segment: _Segment) -> None:
        """Make one connection bring everything: the server gives a file only from its beginning to its end.

        Raises:
            Again: others are under way, whose ranges it did give.
        """
        if len(self._active) > 1:
            raise Again("the server ignored the range that was asked for")
        segment.end = self._size
        self._gaps.clear()

    async def _receive(self, partial: Partial, segment: _Segment, body: Body, skip: int, stop: int) -> None:
        """Write what comes, from the segment's position up to `stop` or where the segment ends by then."""
        buffer = bytearray()
        started = written = self._clock()
        began_at = segment.position
        failure: Again | None = None
        try:
            async for chunk in body.chunks:
                await self._limit.take(len(chunk))
                dropped = min(skip, len(chunk))
                skip -= dropped
                buffer += chunk[dropped:]
                now = self._clock()
                reached = segment.position + len(buffer) >= min(stop, segment.end)
                if reached or len(buffer) >= self._pace.write or now - written >= _WRITE_S:
                    await self._write(partial, segment, buffer, stop)
                    buffer, written = bytearray(), now
                self._measure(segment, segment.position + len(buffer) - began_at, now - started)
                if reached:
                    break
        except Again as error:
            failure = error
        if buffer:
            await self._write(partial, segment, buffer, stop)
        if failure is not None:
            raise failure

    def _measure(self, segment: _Segment, received: int, elapsed_s: float) -> None:
        """Notice a connection that crawls while others run, which a new one often cures."""
        rate = received / max(elapsed_s, _LEAST_MEASURED_S)
        self._best_rate = max(self._best_rate, rate)
        if (
            elapsed_s >= self._patience.slow_s
            and rate < self._best_rate * _SLOW_SHARE
            and segment.turns < _MOST_TURNS
            and not self._whole
        ):
            segment.turns += 1
            raise Again("the connection became slow", after_s=None)

    async def _write(self, partial: Partial, segment: _Segment, data: bytearray, stop: int) -> None:
        # The segment may have been split while the bytes came, and a server may send more than it was asked for.
        del data[max(0, min(stop, segment.end) - segment.position) :]
        if not data:
            return
        span = Span(segment.position, segment.position + len(data))
        await asyncio.to_thread(partial.write, span.start, data)
        segment.position = span.end
        partial.ranges.add(span)
        self._unsynced.append(span)
        self.completed = partial.ranges.total
        await self._sync(partial)

    async def _sync(self, partial: Partial, *, everything: bool = False) -> None:
        if self._syncing or not self._unsynced:
            return
        if not everything and sum(end - start for start, end in self._unsynced) < _SYNC_BYTES:
            return
        spans, self._unsynced = self._unsynced, []
        self._syncing = True
        try:
            await asyncio.to_thread(partial.sync, spans)
        except BaseException:
            self._unsynced += spans
            raise
        finally:
            self._syncing = False


def _holds(paths: StorePaths, digest: Digest, size: int) -> bool:
    with disk_errors(paths.root), contextlib.suppress(FileNotFoundError):
        return paths.blob(digest).stat().st_size == size
    return False


@dataclass(eq=False, slots=True)
class _Shared:
    download: Download
    task: asyncio.Task[Blob]
    listeners: int = 0


class Downloads:
    """The downloads under way: who wants what another fetches already joins in. Owned by one loop."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, Digest], _Shared] = {}

    async def follow(
        self, origin: str, digest: Digest, make: Callable[[], Download], *, every_s: float = 0.06
    ) -> AsyncGenerator[int | Blob, None]:
        """Bring `digest` in from `origin`: the bytes there, never fewer than before, and at last what came.

        Raises as `Download.run`.

        Whoever leaves early leaves it to the others; the last to leave stops it, and what came is kept.
        """
        key = (origin, digest)
        shared = self._under_way.get(key)
        if shared is None:
            download = make()
            shared = self._under_way[key] = _Shared(download, asyncio.create_task(download.run()))
        shared.listeners += 1
        told = 0
        try:
            while not shared.task.done():
                await asyncio.wait({shared.task}, timeout=every_s)
                if shared.download.completed > told:
                    told = shared.download.completed
                    yield told
            if shared.task.cancelled():
                raise SourceError("the download was stopped")
            yield shared.task.result()
        finally:
            shared.listeners -= 1
            if not shared.listeners:
                if self._under_way.get(key) is shared:
                    del self._under_way[key]
                shared.task.cancel()
                await asyncio.wait({shared.task})
                if not shared.task.cancelled():
                    shared.task.exception()
