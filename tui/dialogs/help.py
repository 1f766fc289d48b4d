"""Which keys work here, made from the registry; typing finds some of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from corral.tui.actions import Action, Where, actions_for, shown_keys
from corral.tui.dialogs.dialog import Dialog

__all__ = ["HelpDialog"]

_TITLES = {
    Where.APP: "Everywhere",
    Where.CHAT: "Chat",
    Where.PROMPT: "In the prompt",
    Where.MODELS: "Models",
    Where.TRANSFERS: "In the list of transfers",
    Where.RUNNING: "Running",
    Where.FILE: "Modelfile",
    Where.SERVER: "Server",
}
_KEYS = 16


def _matches(action: Action, keys: str, words: Sequence[str]) -> bool:
    text = f"{keys} {action.description} {action.label} {action.id}".casefold()
    return all(word in text for word in words)


class HelpDialog(Dialog[None]):
    """Lists the actions of the places given, in their order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1", "close", "Close", id="help.close", priority=True),
        Binding("down", "scroll(1)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
    ]
    DEFAULT_CSS = """
    HelpDialog VerticalScroll { height: 1fr; margin-top: 1; scrollbar-size-vertical: 1; }
    HelpDialog Static { height: auto; }
    """

    def __init__(self, places: Sequence[Where], changed: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._places = tuple(places)
        self._changed = changed or {}

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -large") as box:
            box.border_title = "Keys"
            box.border_subtitle = "type to search · ↑↓ scroll · Esc close"
            yield Input(placeholder="search: a key or a word", compact=True)
            with VerticalScroll(can_focus=False):
                yield Static(self._list(""))

    def on_mount(self) -> None:
        """Let a word be typed at once."""
        self.query_one(Input).focus()

    def _list(self, wanted: str) -> Content:
        words = wanted.casefold().split()
        lines = [line for place in self._places for line in self._place(place, words)]
        return Content("\n").join(lines[1:] or [Content("No key does that.")])

    def _place(self, place: Where, words: Sequence[str]) -> Iterator[Content]:
        shown = [(action, shown_keys(action, self._changed)) for action in actions_for(place)]
        actions = [(action, keys) for action, keys in shown if _matches(action, keys, words)]
        if actions:
            yield Content("")
            yield Content.styled(_TITLES[place], "bold underline")
        for action, keys in actions:
            head = f"{keys or f':{action.id}':<{_KEYS}} "
            told = textwrap.wrap(action.description, max(self.row_cells - len(head), _KEYS))
            yield Content.assemble((head, "$accent bold"), f"\n{' ' * len(head)}".join(told))

    def on_resize(self) -> None:
        """Wrap the list anew."""
        self.query_one(Static).update(self._list(self.query_one(Input).value))

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        if event.value == "?":  # the key that opened this closes it, too
            self.action_close()
            return
        self.query_one(Static).update(self._list(event.value))

    def action_scroll(self, lines: int) -> None:
        """Scroll the list."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)
