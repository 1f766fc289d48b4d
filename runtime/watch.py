"""Looks at the machine and at what runs, as often as somebody looks at the screens, and keeps the newest snapshot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

from corral.runtime.events import Events
from corral.runtime.gauges import Gauges
from corral.runtime.publish import Publisher
from corral.runtime.requests import RequestLog
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import EMPTY, GpuSample, ModelState, Snapshot

SAMPLE_S = 1.0
BUSY_PUBLISH_S = 0.25
LEAST_PUBLISH_S = 0.05
UNWATCHED_SAMPLE_S = 10.0
WATCHED_FOR_S = 5.0


class Watch:
    """Samples and publishes between `start` and `close`, on the service loop; `latest` is for any thread.

    `on_gpus` is told of the GPUs each time they were looked at.
    """

    def __init__(
        self,
        publisher: Publisher,
        gauges: Gauges,
        scheduler: Scheduler,
        requests: RequestLog,
        events: Events,
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._gauges = gauges
        self._scheduler = scheduler
        self._requests = requests
        self._events = events
        self._failed = ""
        self._clock = clock
        self._snapshot = EMPTY
        self._looked_at = clock()
        self._task: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self.on_gpus: Callable[[Sequence[GpuSample]], object] | None = None
        requests.on_change = self._stirred.set

    def start(self) -> None:
        """Begin to sample and to publish."""
        self._snapshot = self._publisher.snapshot()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def latest(self) -> Snapshot:
        """Return the newest snapshot; that somebody looks is what makes it be renewed."""
        self._looked_at = self._clock()
        return self._snapshot

    async def _run(self) -> None:
        sampled = -UNWATCHED_SAMPLE_S
        first = True
        while True:
            now = self._clock()
            watched = now - self._looked_at < WATCHED_FOR_S
            if first or now - sampled >= (SAMPLE_S if watched else UNWATCHED_SAMPLE_S):
                first, sampled = False, now
                with self._going_on():
                    await self._sample()
            if watched:
                with self._going_on():
                    self._snapshot = self._publisher.snapshot()
            busy = self._requests.in_flight or any(r.state is not ModelState.IDLE for r in self._scheduler.residents)
            await self._pause(BUSY_PUBLISH_S if busy and watched else SAMPLE_S)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Tell of what failed, once, and look again later: else the screens would show the same moment for ever."""
        try:
            yield
        except Exception as error:
            failed = f"a look at what runs failed: {type(error).__name__}: {error}"
            if failed != self._failed:
                self._failed = failed
                self._events.add("server", failed, "error")

    async def _sample(self) -> None:
        pids = tuple(one.runner.pid for one in self._scheduler.residents if one.runner is not None)
        self._gauges.add(*await asyncio.to_thread(self._gauges.sample, pids))
        if self.on_gpus is not None:
            self.on_gpus(self._gauges.latest.gpus if self._gauges.latest is not None else ())
        self._publisher.tick()

    async def _pause(self, longest_s: float) -> None:
        """Wait; a request that begins or ends cuts it short, so that a screen need not guess for a second."""
        self._stirred.clear()
        loop = asyncio.get_running_loop()
        earliest_s = loop.time() + LEAST_PUBLISH_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._stirred.wait()
        if (left_s := earliest_s - loop.time()) > 0:
            await asyncio.sleep(left_s)
