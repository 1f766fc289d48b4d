"""Keys of the Chat screen while lines are selected: the other end moves, and what is selected is copied."""

from __future__ import annotations

from corral.tui.screens.chat_base import ChatBase
from corral.tui.widgets.transcript import Transcript

__all__ = ["SelectKeys"]


class SelectKeys(ChatBase):
    """Selects whole lines of what was said, over several messages."""

    @property
    def selecting(self) -> Transcript | None:
        """The pane in which lines are selected, where there is one."""
        return next((pane for pane in self.panes if pane.selection is not None), None)

    def action_select(self) -> None:
        """Begin to select lines; again: leave that."""
        pane = self.selecting
        if pane is not None:
            self.leave_selection()
        elif self.pane.begin_selection():
            self.entitle()
            self.refresh_bindings()

    def move_selection(self, lines: int) -> bool:
        """Select up to so many lines further; False where nothing is selected."""
        pane = self.selecting
        if pane is None:
            return False
        pane.move_selection(lines)
        self.entitle()
        return True

    def copy_selection(self) -> bool:
        """Copy the lines, which ends their selection; False where there are none."""
        pane = self.selecting
        if pane is None or pane.selection is None:
            return False
        self.workbench.copy_to_clipboard(pane.selection.text)
        self.leave_selection()
        return True

    def leave_selection(self) -> bool:
        """Select nothing any more; False where nothing was."""
        pane = self.selecting
        if pane is None:
            return False
        pane.end_selection()
        self.entitle()
        self.refresh_bindings()
        return True
