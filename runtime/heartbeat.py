"""A runner that has work and says nothing is hung: it is ended, and its requests get an error instead of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from corral.runtime.runner import Runner

BEATS = 4
"""How often it is asked within the time it may be silent."""


async def keep_listening(runner: Runner, clock: Callable[[], float], hung_after_s: float) -> None:
    """Ask a runner for signs of life, for as long as it lives; end it where it gives none for so many seconds.

    Only its loop answers, between two steps (llama.cpp computes each of them for 2.5 s at most, by the prompt budget).
    While it has nothing to do it is left in peace.
    """
    interval_s = hung_after_s / BEATS
    silent_since: float | None = None
    while runner.alive:
        heard = runner.heard_at
        if runner.running:
            runner.ping()
            silent_since = silent_since if silent_since is not None else clock()
        await asyncio.sleep(interval_s)
        if not runner.running or runner.heard_at > heard:
            silent_since = None
        elif silent_since is not None and clock() - silent_since >= hung_after_s:
            runner.kill(f"it had work and gave no sign of life for {hung_after_s:g} s")
            return
