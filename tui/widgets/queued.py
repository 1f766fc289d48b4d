"""Questions that were sent while an answer comes in: a line each, above the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from corral.tui.chats import Queued
from corral.tui.text import fit

__all__ = ["QueuedLines"]

_MOST = 3


class QueuedLines(Static):
    """Shown while anything waits."""

    DEFAULT_CSS = """
    QueuedLines { height: auto; max-height: 5; padding: 0 2; color: $text-muted; display: none; }
    """

    def __init__(self) -> None:
        super().__init__(Content(""), id="queued")
        self._shown: tuple[tuple[Queued, ...], str] = ((), "")

    def show(self, queue: Sequence[Queued], *, why: str) -> None:
        """List what waits; `why` says for what."""
        if (tuple(queue), why) == self._shown:
            return
        self._shown = (tuple(queue), why)
        self.display = bool(queue)
        width = max(self.screen.size.width - 16, 20)
        lines = [f"◔ queued  {fit(one.text, width)}" for one in queue[:_MOST]]
        lines += [f"  and {len(queue) - _MOST} more"] if len(queue) > _MOST else []
        self.update(Content("\n".join([*lines, f"  {why}"])))
