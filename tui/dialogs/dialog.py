"""What every dialog is: a screen over another that gives one answer, once."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

from corral.tui.frame_timing import SoonDrawn

__all__ = ["BOX", "Dialog"]

Result = TypeVar("Result")

_LARGE = 84
_FRAME = 7
"""Cells of borders, padding and a scroll bar."""

BOX = """
.dialog {
    width: 70;
    max-width: 90%;
    height: auto;
    max-height: 90%;
    border: heavy $border;
    background: $surface;
    padding: 1 2 0 2;
    border-subtitle-color: $text-muted;
}
.dialog-text { height: auto; margin-bottom: 1; }
.dialog-buttons {
    height: auto;
    align-horizontal: right;
    margin-bottom: 1;
    Button { margin-left: 2; }
    Button:focus { text-style: bold reverse; }
}
.dialog.-broad { width: 84; }
.dialog.-large { width: 84; height: 90%; }
"""
"""The frame of a dialog and what stands in it, for who is no `Dialog` too."""


class Dialog(SoonDrawn, ModalScreen[Result], Generic[Result]):
    """A screen that can be dismissed as often as keys and clicks ask for it: the first answer holds."""

    # Here and not in the app's own file, which would win over what a dialog says of itself.
    DEFAULT_CSS = f"Dialog {{ align: center middle; }} {BOX}"

    @property
    def row_cells(self) -> int:
        """How wide a row of a large dialog may be, whatever it has been laid out to yet."""
        return min(_LARGE, self.app.size.width * 9 // 10) - _FRAME

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Give the answer, or do nothing where another screen is on top, or this one is gone.

        Textual takes away whatever is on top, were it the last screen. A line that was submitted is still on its way
        when Escape, whose way is shorter, has closed the dialog already.
        """
        stack = self.app.screen_stack
        return super().dismiss(result) if stack and stack[-1] is self else AwaitComplete()
