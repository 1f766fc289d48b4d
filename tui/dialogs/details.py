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
    """Shows lines until a key is pressed that means done; `y` copies them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="details.close"),
        Binding("y", "copy", "Copy", id="details.copy"),
        Binding("j", "on_text('scroll_down')", show=False),
        Binding("k", "on_text('scroll_up')", show=False),
        Binding("g", "on_text('scroll_home')", show=False),
        Binding("G,shift+g", "on_text('scroll_end')", show=False),
        Binding("ctrl+d", "on_text('page_down')", show=False),
        Binding("ctrl+u", "on_text('page_up')", show=False),
    ]
    KEYS = "y copy · Esc close"
    """What the frame says of keys."""

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = clean_line(title)
        self._text = "\n".join(clean(line) for line in lines)

    @property
    def text_box(self) -> VerticalScroll:
        """What scrolls."""
        return self.query_one(VerticalScroll)

    @property
    def copied(self) -> str:
        """What `y` copies."""
        return self._text

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = self.KEYS
            yield Static(self._text, classes="dialog-text", markup=False)

    def on_mount(self) -> None:
        """Let arrows scroll at once."""
        self.text_box.focus()

    async def action_on_text(self, action: str) -> None:
        """Scroll, by the keys of all other texts."""
        await self.text_box.run_action(action)

    def action_copy(self) -> None:
        """Copy it."""
        self.app.copy_to_clipboard(self.copied)

    def action_close(self) -> None:
        """Done reading."""
        self.dismiss(None)
