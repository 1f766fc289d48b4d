"""Keys that are pressed one after the other as fast as the screens can take them."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import pytest
import textual.app
import textual.pilot

SOON_S: Final = 0.05
"""Within what time a timer belongs to what is being drawn."""
TIMERS: Final = 100
"""How many times, of a millisecond and more, such timers are waited for: what streams has always one more."""


async def until_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Wait until the loop has nothing to do, nor will have soon.

    In place of Textual's own wait, which sleeps 20 ms and more after every key and sees whether the process computed
    meanwhile: under load that says little, and a suite of keys would sleep for minutes. Nothing here goes by the wall
    clock either: where others have the processors it says nothing of what was done.
    """
    loop: Any = asyncio.get_running_loop()
    began_s, timers = time.process_time(), 0
    while time.process_time() - began_s < max_sleep:
        soon_s = loop.time() + SOON_S
        if loop._ready:
            await asyncio.sleep(0)
        elif timers < TIMERS and any(one.when() < soon_s and not one.cancelled() for one in loop._scheduled):
            timers += 1
            await asyncio.sleep(0.001)
        else:
            return


@pytest.fixture(autouse=True)
def keys_wait_for_what_comes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual.app, "wait_for_idle", until_idle)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", until_idle)
