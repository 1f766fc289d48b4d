"""What is told in passing: short lines at an edge where nothing is read or typed."""

from __future__ import annotations

import time

from textual.app import App
from textual.notifications import Notify
from textual.widgets._toast import ToastRack

from corral.tui.terminal import ExitReason

__all__ = ["Notices"]

_SIGNS = {"information": "", "warning": "! ", "error": "✗ "}
"""What tells how much a notice weighs without colours."""


class Notices(App[ExitReason]):
    """An app whose notices take the place of those that are out of date.

    What came of one key stays together; what came of keys before it goes as soon as there is something new to tell, or
    "U undoes it" would stand there when it was undone. Warnings and errors stay as long as they were meant to, once.
    Owned by the screen's loop.
    """

    touched_s: float = 0.0
    """When a key was last pressed or the mouse moved, by the monotonic clock."""

    def on_notify(self, event: Notify) -> None:
        """Take away what this notice is in the place of, before it is shown."""
        new = event.notification
        new.message = _SIGNS[new.severity] + new.message
        asked_s = time.time() - (time.monotonic() - self.touched_s)  # notices count by the wall clock
        for old in list(self._notifications):
            is_over = old.severity == new.severity == "information" and old.raised_at < asked_s
            if is_over or old.message == new.message:
                self._unnotify(old, refresh=False)

    def _refresh_notifications(self) -> None:
        """Show the notices on the screen on top, and no longer on those that are seen behind it."""
        super()._refresh_notifications()
        for screen in self.screen_stack[:-1]:
            for rack in screen.query_children(ToastRack):
                self.call_later(setattr, rack, "display", False)  # behind what Textual has yet to show there
