"""The question before leaving while something runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from corral.runtime.snapshot import RequestView, Snapshot
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.states import IN_FLIGHT
from corral.tui.text import fit

__all__ = ["QuitDialog", "what_runs"]

_LISTED = 5


def what_runs(snapshot: Snapshot) -> list[RequestView]:
    """The requests that leaving would break off."""
    return [request for request in snapshot.requests if request.state in IN_FLIGHT]


class QuitDialog(ConfirmDialog):
    """Says what would be broken off; staying is the default, and `D` leaves without breaking anything off."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("D,shift+d,d", "app.detach", "Detach", id="quit.detach")]

    def __init__(self, running: Sequence[RequestView], serving: str, *, can_detach: bool = False) -> None:
        lines = [f"  {fit(one.client, 16, pad=True)} {fit(one.path, 22)} {fit(one.model, 20)}" for one in running]
        if len(lines) > _LISTED:
            lines = [*lines[:_LISTED], f"  … and {len(lines) - _LISTED} more"]
        noun = "request runs" if len(running) == 1 else "requests run"
        serves = [f"{serving} stops answering."] if serving else []
        if serving and can_detach:
            serves.append("D gives the terminal back instead, and goes on serving.")
        super().__init__(f"{len(running)} {noun}. Stop serving?", [*lines, "", *serves], "Stop and quit", "Stay")
