"""Letters on the panes: press one and the focus is there."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.widget import Widget
from textual.widgets import Label

from corral.tui.dialogs.dialog import Dialog

__all__ = ["JumpLabels", "targets"]

_LETTERS = "".join(one for one in ascii_lowercase if one != "q")


def targets(widgets: Sequence[Widget]) -> dict[str, Widget]:
    """A letter for each pane that is seen, in the order of Tab."""
    seen = [widget for widget in widgets if widget.region.area and widget.visible]
    return dict(zip(_LETTERS, seen, strict=False))


class JumpLabels(Dialog[Widget | None]):
    """Draws the letters where the panes begin and gives the pane that was chosen."""

    TAKES_ALL_KEYS = True
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", id="jump.close", priority=True)]
    DEFAULT_CSS = """
    JumpLabels { background: transparent; layers: labels; align: left top; }
    JumpLabels Label { layer: labels; position: absolute; width: 3; text-style: bold reverse; }
    """

    def __init__(self, spots: dict[str, Widget]) -> None:
        super().__init__()
        self._spots = spots

    def compose(self) -> ComposeResult:
        """One label a pane."""
        for letter, widget in self._spots.items():
            label = Label(f" {letter} ", markup=False)
            label.styles.offset = Offset(widget.region.x, widget.region.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        """Give the pane of that letter; any other key closes."""
        event.stop()
        self.dismiss(self._spots.get(event.key))

    def action_close(self) -> None:
        """Give none."""
        self.dismiss(None)
