"""Screens composed before anybody asks for them: the first visit is then a change of screens like any other."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from corral.runtime.errors import RunError
from corral.store.errors import StoreError
from corral.tui.parsed_styles import ParsedStyles

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["compose_ahead", "lasting"]

_REST_S = 0.4
"""For how long no key may have been pressed: composing a screen holds the next one up."""


_MODULES = (
    *(f"corral.tui.screens.{name}" for name in ("models", "running", "modelfile", "server")),
    *(f"corral.tui.dialogs.{name}" for name in ("help", "options", "quit", "sessions")),
)


def _import_all() -> None:
    """A third of what a first visit takes; on a thread of its own it holds no key up for more than some moments."""
    for module in _MODULES:
        import_module(module)


@contextmanager
def lasting() -> Iterator[None]:
    """Collect no garbage within, and walk what is there by then no more when some is collected later.

    For what stays as long as the app does: walking it again and again would hold up frames, by 0.1 s each.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


async def compose_ahead(app: WorkbenchApp) -> None:
    """Compose all screens there are, one at a time while nobody does anything, the service being there."""
    try:
        await app.link.ready()
    except (StoreError, RunError):
        return
    if isinstance(app.stylesheet, ParsedStyles):
        app.stylesheet.keep()
    with lasting():
        await asyncio.to_thread(_import_all)
    for mode in app.MODES:
        await _nobody_types(app)
        screen = await app.compose_mode(mode)
        if screen is not app.screen_stack[0]:
            screen.take_snapshot(app.link.latest())
        await asyncio.sleep(_REST_S)
        await _nobody_types(app)
        screen.draw_unseen()


async def _nobody_types(app: WorkbenchApp) -> None:
    """Wait until no key was pressed for a while."""
    while True:
        left_s = app.touched_s + _REST_S - time.monotonic()
        if left_s <= 0:
            return
        await asyncio.sleep(left_s)
