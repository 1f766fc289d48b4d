"""The one timer of the workbench: it looks at the newest snapshot, feeds the visible screen and tells the terminal.

A timer of the loop: each of Textual's takes a task, a message and three turns of the loop, several times a second.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from corral.runtime.snapshot import Snapshot
from corral.tui.attention import Attention
from corral.tui.feeding import Feeding
from corral.tui.screens.base import WorkbenchScreen

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["Looking"]

_STALLED_S = 3.0


class Looking:
    """Looks again and again, between `begin` and `stop`. Owned by Textual's thread."""

    def __init__(self, app: WorkbenchApp) -> None:
        self._app = app
        self._feeding = Feeding()
        self._attention = Attention(app.environ)
        self._next: asyncio.TimerHandle | None = None
        self._is_suspended = False
        self.due_s = time.monotonic()
        """When the next look should be."""

    def begin(self) -> None:
        """Look for the first time."""
        self.due_s = time.monotonic()
        self._look()

    def now(self) -> None:
        """Feed the visible screen at once, after a verb that changed something or on coming back."""
        self.stop()
        self._feeding.forget()
        self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def suspend(self, is_suspended: bool) -> None:
        """Take note that the terminal is somebody else's, an editor's, or ours again."""
        self._is_suspended, self.due_s = is_suspended, time.monotonic()

    def _look(self) -> None:
        """Feed the visible screen where that is due, then wait as long as what runs allows."""
        app = self._app
        if not app.screen_stack or app._exit or not app.is_running:
            return  # the app is closing: its screens may have lost their widgets already
        snapshot = app.link.latest()
        screen = app.screen_stack[0]
        if isinstance(screen, WorkbenchScreen) and screen.is_mounted and self._feeding.is_due(snapshot):
            screen.take_snapshot(snapshot)
        self._tell_terminal(snapshot)
        delay_s = self._feeding.delay_s(snapshot, has_focus=app.app_focus, is_elsewhere=bool(app.link.place))
        self.due_s = time.monotonic() + delay_s
        self._next = asyncio.get_running_loop().call_later(delay_s, self._look_again)

    def _look_again(self) -> None:
        """As Textual would call it: with the app as what sends messages, and its way to tell of failures."""
        with self._app._context():
            try:
                self._look()
            except Exception as error:
                self._app._handle_exception(error)

    def _tell_terminal(self, snapshot: Snapshot) -> None:
        """Title and signals; and, once a terminal that took nothing is read again, for how long it did not."""
        if self._is_suspended:
            return
        app = self._app
        written = self._attention.sequences(snapshot, is_looked_at=app.app_focus)
        if written and app._driver is not None:
            app._driver.write(written)
        late_s = time.monotonic() - self.due_s
        if late_s > _STALLED_S:
            told = f"The terminal took nothing for {late_s:.0f} s; what runs went on meanwhile"
            app.notify(told, markup=False, severity="warning")
