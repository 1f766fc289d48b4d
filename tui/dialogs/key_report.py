"""Which keys were changed, what is wrong with that, and what a key is called that is pressed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from corral.tui.actions import ACTIONS, Action, shown_key, shown_keys
from corral.tui.dialogs.dialog import Dialog
from corral.tui.keymap import Keymap, taken_by
from corral.tui.text import clean_line

__all__ = ["KeyReport", "describe_key"]


_SCROLLS = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}
"""Keys that go through the list as well, and by how many lines: there is no other way."""


_WIDTHS = (22, 12)


def _columns(rows: Iterable[Sequence[str]], *widths: int) -> Table:
    """Rows whose last column has the room that is left, and is wrapped within it."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for width in widths:
        table.add_column(min_width=width)
    table.add_column(ratio=1)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def describe_key(key: str, keymap: Keymap) -> str:
    """What a key is called, what it does and who may take it away: `ctrl+o (^O): Modelfile file.open; …`."""
    owners = [
        f"{action.where} {action.id}"
        for action in ACTIONS
        if key in keymap.changed.get(action.id, action.keys).split(",")
    ]
    by = taken_by(key)
    does = ", ".join(owners) or "nothing here"
    return f"{key} ({shown_key(key)}): {does}" + (f"; often taken by {by}" if by else "")


class KeyReport(Dialog[None]):
    """Takes every key but Escape and says what it is: a key that is not seen here never reached this program."""

    TAKES_ALL_KEYS = True
    """The app looks for this and lets its own keys do nothing meanwhile."""
    NAMES_KEYS = True
    """What is sent for Alt and a key is named as that, though nothing is bound to it."""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", id="keys.close", priority=True)]
    DEFAULT_CSS = """
    KeyReport VerticalScroll { height: 1fr; }
    KeyReport Static { height: auto; }
    """

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self._keymap = keymap
        self._pressed: list[str] = []

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -large") as box:
            box.border_title = "Key report"
            box.border_subtitle = "press a key to see who owns it · ↑↓ scroll too · Esc close"
            yield Static(id="key-pressed", markup=False)
            with VerticalScroll(can_focus=False):
                yield Static(Group(*self._parts()))

    def _parts(self) -> Iterator[RenderableType]:
        yield ""
        if not self._keymap.problems:
            yield "✓ no two actions of one place want the same key"
        yield _columns((("!", clean_line(problem)) for problem in self._keymap.problems), 1)
        yield ""
        changed = [action for action in ACTIONS if action.id in self._keymap.changed]
        yield Text("Changed in config.toml" if changed else "Nothing is changed in config.toml", style="bold")
        yield _columns(((one.id, self._keys(one), f"was {shown_keys(one)}") for one in changed), *_WIDTHS)
        yield ""
        yield Text("Every action by the name [keys] knows it by", style="bold")
        yield _columns(((one.id, self._keys(one), one.description) for one in ACTIONS), *_WIDTHS)

    def _keys(self, action: Action) -> str:
        return shown_keys(action, self._keymap.changed) or "no key"

    def on_key(self, event: events.Key) -> None:
        """Say what it is, and let nobody act on it."""
        event.stop()
        event.prevent_default()
        self._pressed = [*self._pressed[-2:], describe_key(event.key, self._keymap)]
        self.query_one("#key-pressed", Static).update("\n".join(self._pressed))
        if event.key in _SCROLLS:
            self.query_one(VerticalScroll).scroll_relative(y=_SCROLLS[event.key], animate=False)

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)
