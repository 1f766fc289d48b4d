"""Lines to read, and nothing to decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from corral.tui.dialogs.dialog import Dialog
from corral.tui.text import clean, clean_line


class DetailsDialog(Dialog[None]):
    """Shows lines until a key is pressed that means done."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "close", "Close", id="details.close")]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = clean_line(title)
        self._text = "\n".join(clean(line) for line in lines)

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "Esc close"
            yield Static(self._text, classes="dialog-text", markup=False)

    def action_close(self) -> None:
        """Done reading."""
        self.dismiss(None)
