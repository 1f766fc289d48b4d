"""Long work on the model folder itself, in a thread, told as progress on stderr."""

from __future__ import annotations

import asyncio
import queue
import sys
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from corral.store.progress import Progress
from corral.tui.cli.progress import follow

T = TypeVar("T")
_TELL_EVERY_S = 0.1


def run_job(status: str, total: int, work: Callable[[Callable[[int], None]], T]) -> T:
    """Do `work` in a thread; it is given whom to tell how many of `total` bytes are done.

    Ctrl-C ends it the next time it tells, so that it may clean up.
    """
    results: queue.SimpleQueue[T] = queue.SimpleQueue()
    asyncio.run(follow(_steps(status, total, work, results), sys.stderr))
    return results.get_nowait()


async def _steps(
    status: str, total: int, work: Callable[[Callable[[int], None]], T], results: queue.SimpleQueue[T]
) -> AsyncGenerator[Progress, None]:
    done = 0
    stopped = False

    def note(count: int) -> None:
        nonlocal done
        if stopped:
            raise InterruptedError
        done = count

    job = asyncio.ensure_future(asyncio.to_thread(work, note))
    try:
        while not job.done():
            await asyncio.wait([job], timeout=_TELL_EVERY_S)
            yield Progress(status, status, total, min(done, total))
    finally:
        stopped = True
        job.cancel()
    results.put(job.result())
    yield Progress(status, status, total, total)
