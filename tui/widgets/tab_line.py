"""A line of tabs: which part of something is shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from corral.tui.text import clean_line


class TabLine(Static):
    """One line; the chosen tab is in brackets, so it can be told without colours. A click chooses."""

    DEFAULT_CSS = "TabLine { height: 1; width: 1fr; text-wrap: nowrap; }"

    class Chosen(Message):
        """Somebody clicked a tab."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, labels: Sequence[str], *, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id, markup=False)
        self._labels = tuple(map(clean_line, labels))
        self.index = 0
        self._write()

    def choose(self, index: int) -> None:
        """Show that this tab is the chosen one."""
        self.index = index % len(self._labels)
        self._write()

    def _write(self) -> None:
        parts: list[Content] = []
        for number, label in enumerate(self._labels):
            before = "[" if number == self.index else "]" if number == self.index + 1 else " "
            parts.append(Content.styled(before, "bold" if before != " " else ""))
            parts.append(Content.styled(label, "bold" if number == self.index else "dim"))
        parts.append(Content("]" if self.index == len(self._labels) - 1 else ""))
        self.update(Content("").join(parts), layout=False)

    def on_click(self, event: events.Click) -> None:
        """Find the tab under the pointer."""
        start = 0
        for number, label in enumerate(self._labels):
            start += 1 + cell_len(label)
            if event.x < start:
                event.stop()
                self.post_message(self.Chosen(number))
                return
