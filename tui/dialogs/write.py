"""A text of several lines: written, or changed, and given back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from corral.tui.dialogs.ask import Check
from corral.tui.dialogs.dialog import Dialog
from corral.tui.external_editor import edit_in_editor
from corral.tui.text import clean, clean_line

__all__ = ["WriteDialog"]


class WriteDialog(Dialog[str | None]):
    """Asks for a text; F9 or Ctrl+S gives it where `check` has nothing against it, Escape gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="write.cancel", priority=True),
        Binding("f9,ctrl+s", "save", "Save", id="write.save", priority=True),
        Binding("f7", "edit_external", "$EDITOR", id="write.external", priority=True),
    ]
    DEFAULT_CSS = """
    WriteDialog TextArea { height: 12; border: round $border-blurred; }
    WriteDialog TextArea:focus { border: round $border; }
    WriteDialog .write-problem { height: auto; color: $error; }
    """

    def __init__(self, title: str, text: str, *, about: str = "", check: Check | None = None) -> None:
        super().__init__()
        self._title = clean_line(title)
        self._text = text
        self._about = clean(about)
        self._check = check

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -wide-text") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "F9 save · F7 $EDITOR · Esc cancel"
            if self._about:
                yield Static(self._about, classes="dialog-text", markup=False)
            yield TextArea(clean(self._text), highlight_cursor_line=False)
            yield Static("", classes="write-problem", markup=False)

    def on_mount(self) -> None:
        """Let it be typed at once."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_save(self) -> None:
        """Give the text."""
        text = self.query_one(TextArea).text
        problem = self._check(text) if self._check is not None else ""
        if problem:
            self.query_one(".write-problem", Static).update(f"✗ {clean_line(problem)}")
        else:
            self.dismiss(text)

    async def action_edit_external(self) -> None:
        """Go on in the user's own editor."""
        area = self.query_one(TextArea)
        text = await edit_in_editor(self.app, area.text)
        if text is not None:
            area.text = clean(text)

    def action_cancel(self) -> None:
        """Give nothing."""
        self.dismiss(None)
