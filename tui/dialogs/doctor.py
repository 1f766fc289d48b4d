"""The findings of `doctor`, to be read and copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from corral.tui.dialogs.details import DetailsDialog

__all__ = ["DoctorDialog"]


class DoctorDialog(DetailsDialog):
    """Shows the lines; `y` copies them, for a report."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "Copy", id="doctor.copy")]

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("Doctor", lines)
        self._copied = "\n".join(lines)

    def on_mount(self) -> None:
        """Say which keys there are."""
        box = self.query_one(".dialog")
        box.border_subtitle = "y copy · Esc close"
        box.focus()

    def action_copy(self) -> None:
        """Copy all of it."""
        self.app.copy_to_clipboard(self._copied)
