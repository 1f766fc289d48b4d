"""A question before something that cannot be taken back. The safe answer has the focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from corral.tui.dialogs.dialog import Dialog
from corral.tui.text import clean, clean_line

__all__ = ["ConfirmDialog"]


class ConfirmDialog(Dialog[bool]):
    """Asks for a yes; Escape, `n` and Enter at once all mean no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
        Binding("left,right,h,l", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str], yes_label: str, no_label: str = "No") -> None:
        super().__init__()
        self._title = clean_line(title)
        self._lines = tuple(clean(line) for line in lines)
        self._yes_label = clean_line(yes_label)
        self._no_label = clean_line(no_label)

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "Esc no"
            yield Static(Content("\n".join(self._lines)), classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button(Content(f"{self._no_label}  n"), id="no", compact=True)
                yield Button(Content(f"{self._yes_label}  y"), id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        """Start on the safe answer."""
        self.query_one("#no").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Give the answer."""
        self.dismiss(answer)
