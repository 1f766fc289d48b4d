"""Keys that are pressed one after the other as fast as the screens can take them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
import textual.app
import textual.pilot

SOON_S: Final = 0.05
"""Within what time a timer belongs to what is being drawn."""
TIMERS_S: Final = 0.1
"""How long such timers are waited for: what streams has always one more."""


async def until_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Wait until the loop has nothing to do, nor will have soon.

    In place of Textual's own wait, which sleeps 20 ms and more after every key and sees whether the process computed
    meanwhile: under load that says little, and a suite of keys would sleep for minutes.
    """
    loop: Any = asyncio.get_running_loop()
    began_s = loop.time()
    while (waited_s := loop.time() - began_s) < max_sleep:
        soon_s = loop.time() + SOON_S
        if loop._ready:
            await asyncio.sleep(0)
        elif waited_s < TIMERS_S and any(one.when() < soon_s and not one.cancelled() for one in loop._scheduled):
            await asyncio.sleep(0.001)
        else:
            return


@pytest.fixture(autouse=True)
def keys_wait_for_what_comes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual.app, "wait_for_idle", until_idle)
    monkeypatch.setattr(textual.pilot, "wait_for_idle", until_idle)
