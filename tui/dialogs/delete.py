"""The plan of a deletion, shown before anything is deleted."""

from __future__ import annotations

from corral.runtime.verbs import DeletePlan
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.figures import size

_MOST_NAMES = 8
_LABEL = 18


def delete_lines(plan: DeletePlan, undo_s: float = 0.0) -> list[str]:
    """What goes, what stays because others need it, what is in memory now, and how long it can be undone."""
    lines = [f"  {name}" for name in plan.models[:_MOST_NAMES]]
    if len(plan.models) > _MOST_NAMES:
        lines.append(f"  and {len(plan.models) - _MOST_NAMES} more")
    lines += ["", f"{'frees on disk':<{_LABEL}}{size(plan.frees)}"]
    if plan.keeps or plan.shared_with:
        lines.append(f"{'stays (shared)':<{_LABEL}}{size(plan.keeps)}, also used by {', '.join(plan.shared_with)}")
    lines.append(f"{'in memory now':<{_LABEL}}{', '.join(plan.in_memory) or 'none'}")
    if undo_s:
        lines.append(f"{'undo':<{_LABEL}}for {undo_s:.0f} s with U; nothing goes before, nor if you leave")
    return lines


def delete_dialog(plan: DeletePlan, undo_s: float = 0.0) -> ConfirmDialog:
    """Ask whether the plan is to be carried out."""
    number = len(plan.models)
    title = "Delete this model?" if number == 1 else f"Delete {number} models?"
    return ConfirmDialog(title, delete_lines(plan, undo_s), "Delete" if number == 1 else f"Delete {number}", "No, keep")
