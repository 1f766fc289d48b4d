"""A dialog of a search line and the list it narrows: going between the two, and up and down."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.binding import Binding
from textual.widgets import Input, OptionList

from corral.tui.dialogs.dialog import Dialog

Result = TypeVar("Result")

_LIST_FRAME = 3


def browsing(name: str) -> list[Binding]:
    """The keys of a list that is gone through beside its search line; `name` is the dialog's in the names of keys."""
    return [
        Binding("escape", "close", "Close", id=f"{name}.close"),
        Binding("down", "to_list", show=False, id=f"{name}.list"),
        Binding("slash", "to_search", show=False, id=f"{name}.search"),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]


class SearchedList(Dialog[Result | None], Generic[Result]):
    """The actions; bindings and contents are the subclass's, which has one `Input` and one `OptionList`."""

    @property
    def row_cells(self) -> int:
        """How wide a row of the list may be."""
        return super().row_cells - _LIST_FRAME

    def action_to_list(self) -> None:
        """Go to the list."""
        self.query_one(OptionList).focus()

    def action_to_search(self) -> None:
        """Go to the search line."""
        self.query_one(Input).focus()

    def action_move(self, by: int) -> None:
        """Go up or down the list."""
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_close(self) -> None:
        """Leave without a result."""
        self.dismiss(None)
