"""The plan of a deletion, shown before anything is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from corral.runtime.verbs import Client, DeletePlan
from corral.tui.dialogs.ask import AskDialog, Check
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.dialog import Dialog
from corral.tui.figures import ago, size
from corral.tui.text import clean_line

_NAMES_CELLS = 180
_OTHERS_CELLS = 40
_LABEL = 18


def _some(names: Sequence[str], cells: int) -> str:
    """As many of them as have room, and how many more there are: whatever they are, the question stays in sight."""
    most = max(1, sum(end <= cells for end in accumulate(len(name) + 2 for name in names)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def delete_lines(plan: DeletePlan, undo_s: float = 0.0) -> list[str]:
    """What goes, what stays because others need it, what is in memory now, and how long it can be undone."""
    lines = [f"  {_some(plan.models, _NAMES_CELLS)}"]
    later = f" after {ago(plan.kept_s)}, or at once with :gc" if plan.kept_s else " at once"
    lines += ["", f"{'frees on disk':<{_LABEL}}{size(plan.frees)}{later}"]
    sharing = (*plan.shared_with, *(f"{name} (in the trash)" for name in plan.shared_with_trash))
    if plan.keeps or sharing:
        lines.append(f"{'stays (shared)':<{_LABEL}}{size(plan.keeps)}, also used by {_some(sharing, _OTHERS_CELLS)}")
    lines.append(f"{'in memory now':<{_LABEL}}{_some(plan.in_memory, _OTHERS_CELLS) or 'none'}")
    if plan.kept_s:
        lines.append(f"{'undo':<{_LABEL}}for {ago(plan.kept_s)} with U or :undo")
    elif undo_s:
        lines.append(f"{'undo':<{_LABEL}}for {undo_s:.0f} s with U; nothing goes before, nor if you leave")
    return lines


async def carry_out(plan: DeletePlan, client: Client) -> None:
    """Do what the plan told: into the trash where there is one. Raises what verbs raise."""
    if plan.kept_s:
        await client.trash(plan.models)
    else:
        for name in plan.models:
            await client.delete(name)


def delete_dialog(plan: DeletePlan, undo_s: float = 0.0) -> Dialog[Any]:
    """Ask whether the plan is to be carried out; for several models the first one's name is to be typed.

    Its answer is true where it is.
    """
    number, lines = len(plan.models), delete_lines(plan, undo_s)
    if number == 1:
        return ConfirmDialog("Delete this model?", lines, "Delete", "No, keep")
    name = clean_line(plan.models[0])
    lines += ["", f"Type {name} to delete all {number}."]
    return AskDialog(f"Delete {number} models?", lines, placeholder="its name", check=_is(name))


def _is(name: str) -> Check:
    def check(text: str) -> str:
        if text == name:
            return ""
        return "go on: all of the name" if name.startswith(text) else f"this is not {name}; Esc keeps the models"

    return check
