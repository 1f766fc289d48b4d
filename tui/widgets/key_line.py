"""The line at the foot of every screen: the keys that work here, as many as there is room for."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

__all__ = ["KeyLine"]

_ALWAYS = frozenset({"command_line", "help", "quit"})
"""Actions whose keys stand at the end however little room there is: they lead to all others."""


def _cells(key: FooterKey) -> int:
    return cell_len(key.key_display) + cell_len(key.description) + 2


class KeyLine(Footer):
    """Textual's footer, without keys that would be cut."""

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)

    def compose(self) -> ComposeResult:
        """Yield the keys that fit, the last ones of them whatever comes before."""
        keys: list[Widget] = list(super().compose())
        room = self.app.size.width + 1
        room -= sum(_cells(key) for key in keys if isinstance(key, FooterKey) and key.action in _ALWAYS)
        for key in keys:
            if isinstance(key, FooterKey) and key.action not in _ALWAYS:
                room -= _cells(key)
                if room < 0:
                    continue
            yield key

    def on_resize(self, event: events.Resize) -> None:
        """Choose the keys anew."""
        self.call_after_refresh(self.recompose)
