"""Choosing colours by seeing them: the theme under the cursor is shown at once, Esc brings the old one back."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from corral.tui.dialogs.searched_list import SearchedList
from corral.tui.text import clean_line

__all__ = ["ThemesDialog"]


class ThemesDialog(SearchedList[str]):
    """Gives the theme that was chosen; without one the app looks as before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="themes.close"),
        Binding("down", "move(1)", show=False, priority=True, id="themes.next"),
        Binding("up", "move(-1)", show=False, priority=True, id="themes.previous"),
    ]
    DEFAULT_CSS = """
    ThemesDialog { background: transparent; align: right middle; }
    ThemesDialog > .dialog { width: 34; height: 80%; max-height: 30; }
    ThemesDialog OptionList { height: 1fr; border: none; margin-top: 1; background: transparent; padding: 0; }
    """

    def __init__(self, names: list[str], now: str) -> None:
        super().__init__()
        self._names = names
        self._before = now
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """Draw the box at the side, so that the screen behind it is seen."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Theme"
            box.border_subtitle = "↑↓ see · ⏎ take · Esc back"
            yield Input(placeholder="find", compact=True)
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        """Start on the one that is in use."""
        self.query_one(Input).focus()
        self._fill("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, words: str) -> None:
        self._shown = [name for name in self._names if words.lower() in name.lower()]
        options = self.query_one(OptionList)
        options.set_options(Option(Content(clean_line(name))) for name in self._shown)
        if self._shown:
            now = self.app.theme
            options.highlighted = self._shown.index(now) if now in self._shown else 0

    @on(OptionList.OptionHighlighted)
    def _seen(self, event: OptionList.OptionHighlighted) -> None:
        name = self._shown[event.option_index]
        if name != self.app.theme:
            self.app.theme = name

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.dismiss(self.app.theme if self._shown else None)

    def action_close(self) -> None:
        """Go back to the one that was in use."""
        self.app.theme = self._before
        self.dismiss(None)
