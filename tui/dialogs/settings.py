"""All settings of screen and service with their values and where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from corral.runtime.upkeep import SettingView
from corral.tui.dialogs.searched_list import SearchedList, browsing
from corral.tui.text import clean_line, fit

__all__ = ["SettingsDialog"]

_NAME_CELLS = 20
_VALUE_CELLS = 22


class SettingsDialog(SearchedList[str]):
    """Gives the name of the setting that is to be changed."""

    BINDINGS: ClassVar[list[BindingType]] = [*browsing("settings")]
    DEFAULT_CSS = """
    SettingsDialog #setting-about { height: 2; color: $text-muted; }
    SettingsDialog OptionList { height: 1fr; border: none; margin-top: 1; background: transparent; padding: 0; }
    """

    def __init__(self, settings: Sequence[SettingView]) -> None:
        super().__init__()
        self._settings = settings
        self._shown: list[SettingView] = []

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -large") as box:
            box.border_title = "Settings"
            box.border_subtitle = "⏎ change · ↻ needs a restart · Esc close"
            yield Input(placeholder="find by name, value or meaning", compact=True)
            yield OptionList(markup=False)
            yield Static("", id="setting-about", markup=False)

    def on_mount(self) -> None:
        """Show all, and let words be typed."""
        self.query_one(Input).focus()
        self._fill("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, words: str) -> None:
        wanted = words.lower().split()
        self._shown = [
            one for one in self._settings
            if all(word in f"{one.name} {one.value} {one.origin} {one.about}".lower() for word in wanted)
        ]  # fmt: skip
        options = self.query_one(OptionList)
        options.set_options(Option(self._row(one)) for one in self._shown)
        if self._shown:
            options.highlighted = 0

    def _row(self, one: SettingView) -> Content:
        sign = " " if one.live else "↻"
        head = f"{sign} {fit(one.name, _NAME_CELLS, pad=True)}"
        value = fit(clean_line(one.value) or "—", _VALUE_CELLS, pad=True)
        room = self.row_cells - len(head) - _VALUE_CELLS - 2
        return Content.assemble((head, "bold"), " ", value, (f" {fit(clean_line(one.origin), max(room, 0))}", "dim"))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        one = self._shown[event.option_index]
        restart = "" if one.live else "; changing it needs a restart"
        self.query_one("#setting-about", Static).update(clean_line(f"{one.about}{restart}"), layout=False)

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._shown):
            self.dismiss(self._shown[place].name)
