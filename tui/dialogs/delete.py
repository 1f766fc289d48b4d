"""The plan of a deletion, shown before anything is deleted."""

from __future__ import annotations

from corral.runtime.verbs import DeletePlan
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.figures import size

_MOST_NAMES = 8
_LABEL = 18


def delete_lines(plan: DeletePlan) -> list[str]:
    """What goes, what stays because others need it, and what is in memory now."""
    lines = [f"  {name}" for name in plan.models[:_MOST_NAMES]]
    if len(plan.models) > _MOST_NAMES:
        lines.append(f"  and {len(plan.models) - _MOST_NAMES} more")
    lines += ["", f"{'frees on disk':<{_LABEL}}{size(plan.frees)}"]
    if plan.keeps or plan.shared_with:
        lines.append(f"{'stays (shared)':<{_LABEL}}{size(plan.keeps)}, also used by {', '.join(plan.shared_with)}")
    lines.append(f"{'in memory now':<{_LABEL}}{', '.join(plan.in_memory) or 'none'}")
    return lines


def delete_dialog(plan: DeletePlan) -> ConfirmDialog:
    """Ask whether the plan is to be carried out."""
    number = len(plan.models)
    title = "Delete this model?" if number == 1 else f"Delete {number} models?"
    return ConfirmDialog(title, delete_lines(plan), "Delete" if number == 1 else f"Delete {number}", "No, keep")
