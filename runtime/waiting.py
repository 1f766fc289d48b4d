"""What is told to who waits for an answer's first token: how much of the model is loaded, of the prompt computed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from corral.runtime.runner_stream import Output
from corral.runtime.verbs import LoadProgress, PromptProgress

TELL_EVERY_S = 0.1


async def load_progress(
    task: asyncio.Future[Any], fraction: Callable[[], float | None]
) -> AsyncGenerator[LoadProgress, None]:
    """Tell how far a load is until `task` is done; `fraction` is None where nothing is being loaded.

    Whoever closes this before its end cancels the task.
    """
    told = -1.0
    loads = fraction() is not None
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=TELL_EVERY_S)
            now = fraction()
            if now is not None and now > told and not task.done():
                told = now
                yield LoadProgress(now)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if (loads or told >= 0) and told < 1.0 and not task.cancelled() and task.exception() is None:
        yield LoadProgress(1.0)


class PromptWatch:
    """Follows one prompt: tells its beginning, its end, and between them now and then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s = 0.0
        self._told_s = 0.0
        self._total = 0
        self._cached = 0

    def take(self, output: Output) -> PromptProgress | None:
        """Return what is to be told of it now."""
        now = self._clock()
        done = 0
        if output.started is not None:
            self._began_s = now
            self._total, self._cached = output.started.prompt_tokens, output.started.cached_tokens
            done = self._cached
        if output.progress is not None:
            done = output.progress.done
        elif output.started is None:
            return None
        if done < self._total and output.started is None and now - self._told_s < TELL_EVERY_S:
            return None
        self._told_s = now
        return PromptProgress(done, self._total, self._cached, int((now - self._began_s) * 1e9))
