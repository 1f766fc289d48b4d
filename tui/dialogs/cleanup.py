"""What a clean-up would remove: files that no model needs, and what lies in the trash."""

from __future__ import annotations

from corral.runtime.upkeep import Cleanup, Trashed
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.figures import ago, size

_MOST_DELETIONS = 8


def cleanup_lines(plan: Cleanup, now_s: float) -> list[str]:
    """What goes, with its size; of the trash each deletion, the last first. `now_s` is Unix time."""
    lines = [f"{plan.files} files that no model needs, {size(plan.frees)}."] if plan.files else []
    if plan.trash:
        lines += [*([""] if lines else []), f"In the trash, {size(plan.trash_frees)}:"]
        lines += [f"  {_deletion(one, now_s)}" for one in reversed(plan.trash[-_MOST_DELETIONS:])]
        if len(plan.trash) > _MOST_DELETIONS:
            lines.append(f"  and {len(plan.trash) - _MOST_DELETIONS} more")
    return [*lines, "", "This cannot be undone."]


def _deletion(one: Trashed, now_s: float) -> str:
    since, left = ago(max(0.0, now_s - one.deleted_s)), ago(max(0.0, one.until_s - now_s))
    when = f"deleted {since if since == 'now' else f'{since} ago'}, goes {left if left == 'now' else f'in {left}'}"
    return f"{', '.join(one.models)}  {size(one.frees)}  {when}"


def cleanup_dialog(plan: Cleanup, now_s: float) -> ConfirmDialog:
    """Ask whether it is to go."""
    if not plan.trash:
        title = "Remove orphans?"
    else:
        title = "Remove orphans, empty the trash?" if plan.files else "Empty the trash?"
    return ConfirmDialog(title, cleanup_lines(plan, now_s), "Remove", "No, keep")
