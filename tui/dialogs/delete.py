"""The plan of a deletion, shown before anything is deleted."""

from __future__ import annotations

from corral.runtime.verbs import Client, DeletePlan
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.figures import ago, size

_MOST_NAMES = 8
_LABEL = 18


def delete_lines(plan: DeletePlan, undo_s: float = 0.0) -> list[str]:
    """What goes, what stays because others need it, what is in memory now, and how long it can be undone."""
    lines = [f"  {name}" for name in plan.models[:_MOST_NAMES]]
    if len(plan.models) > _MOST_NAMES:
        lines.append(f"  and {len(plan.models) - _MOST_NAMES} more")
    later = f" after {ago(plan.kept_s)}, or at once with :gc" if plan.kept_s else " at once"
    lines += ["", f"{'frees on disk':<{_LABEL}}{size(plan.frees)}{later}"]
    sharing = (*plan.shared_with, *(f"{name} (in the trash)" for name in plan.shared_with_trash))
    if plan.keeps or sharing:
        lines.append(f"{'stays (shared)':<{_LABEL}}{size(plan.keeps)}, also used by {', '.join(sharing)}")
    lines.append(f"{'in memory now':<{_LABEL}}{', '.join(plan.in_memory) or 'none'}")
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


def delete_dialog(plan: DeletePlan, undo_s: float = 0.0) -> ConfirmDialog:
    """Ask whether the plan is to be carried out."""
    number = len(plan.models)
    title = "Delete this model?" if number == 1 else f"Delete {number} models?"
    return ConfirmDialog(title, delete_lines(plan, undo_s), "Delete" if number == 1 else f"Delete {number}", "No, keep")
