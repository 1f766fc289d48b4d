"""The line at the foot of every screen: the keys that work here, as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Collection

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
    """Textual's footer, without keys that would be cut. `refused` tells which come to nothing now."""

    DEFAULT_CSS = """
    KeyLine FooterKey.-refused { color: $text-muted; text-style: dim; }
    KeyLine FooterKey.-refused .footer-key--key { color: $text-muted; text-style: dim; }
    """

    def __init__(self, refused: Callable[[], Collection[str]]) -> None:
        super().__init__(compact=True, show_command_palette=False)
        self._refused = refused

    def compose(self) -> ComposeResult:
        """Yield the keys that fit, the last ones of them whatever comes before."""
        keys: list[Widget] = list(super().compose())
        refused = self._refused()
        room = self.app.size.width + 1
        room -= sum(_cells(key) for key in keys if isinstance(key, FooterKey) and key.action in _ALWAYS)
        for key in keys:
            if isinstance(key, FooterKey) and key.action not in _ALWAYS:
                room -= _cells(key)
                if room < 0:
                    continue
            if isinstance(key, FooterKey):
                key.set_class(key.action.removeprefix("screen.") in refused, "-refused")
            yield key

    def dim(self, refused: Collection[str]) -> None:
        """Draw keys faint that would come to nothing now, by the names of their actions; each says why on a press."""
        for key in self.query(FooterKey):
            key.set_class(key.action.removeprefix("screen.") in refused, "-refused")

    def on_resize(self, event: events.Resize) -> None:
        """Choose the keys anew."""
        self.call_after_refresh(self.recompose)
