"""The workbench over a fake client, starting on any of its screens, and ways to wait for what is drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual._compositor import CompositorUpdate
from textual._context import visible_screen_stack
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input

from corral.tui import app as app_module
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from tests import waiting
from tests.fakes.client import FakeClient
from tests.waiting import PATIENCE_S

ENVIRON = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
STYLES = str(Path(app_module.__file__).parent / "styles" / "app.tcss")
SIZES = [(120, 36), (80, 24)]


def workbench(client: FakeClient, mode: Where, **more: str) -> WorkbenchApp:
    """The app on its `mode` screen, the client answering on the test's own loop; `more` variables of the environment.

    Without a `HOME` among them nothing is kept on disk.
    """

    class StartedThere(WorkbenchApp):
        CSS_PATH = STYLES
        DEFAULT_MODE = mode

    return StartedThere(ServiceLink(client, asyncio.get_running_loop()), environ=ENVIRON | more)


async def until(pilot: Pilot[Any], condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Let the app run until `condition` holds; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s} s:\n{picture(pilot.app)}")
        await pilot.pause(0.01)


async def left(app: App[Any]) -> None:
    """Wait until the app has been told to end, and by that with which answer."""
    await waiting.until(lambda: app._exit)


async def asked(pilot: Pilot[Any]) -> Input:
    """Wait for a dialog that asks for a line, and for the line to take keys; returns the line."""
    app = pilot.app
    await until(pilot, lambda: app.screen.is_modal and isinstance(app.focused, Input))
    assert isinstance(app.focused, Input)
    return app.focused


def picture(app: App[Any]) -> str:
    """What the screen shows, as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in strips(app))


def strips(app: App[Any]) -> list[Strip]:
    """What the screen shows, row by row. A dialog draws the screen below it only where it is told which that is."""
    visible_screen_stack.set(app._background_screens)
    return app.screen._compositor.render_strips()


class Wire:
    """Counts what an app sends to its terminal from now on."""

    def __init__(self, app: App[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        display = app._display

        def counted(screen: Screen[Any], renderable: Any) -> None:
            if isinstance(renderable, CompositorUpdate):
                self.sent += len(renderable.render_segments(app.console).encode())
            display(screen, renderable)

        monkeypatch.setattr(app, "_display", counted)


def overflows(app: App[Any]) -> list[str]:
    """Lines wider than the screen, and widgets that reach beyond it."""
    width, height = app.size
    lines = [line for line in picture(app).split("\n") if cell_len(line) != width]
    outside = [
        str(widget)
        for widget in app.screen_stack[0].query("Panel, KeyLine, Header")
        if widget.display and (widget.region.right > width or widget.region.bottom > height)
    ]
    return lines + outside
