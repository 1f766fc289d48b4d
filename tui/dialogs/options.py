"""What one chat asks of its model, as a list: every option with its range, its default and what it does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option as Entry

from corral.runtime.options import OPTIONS, Kind, Option
from corral.tui.chat_settings import THINK_LEVELS, ChatSettings, checked_option, parse_format, parse_tools, value_text
from corral.tui.dialogs.ask import AskDialog
from corral.tui.dialogs.searched_list import SearchedList, browsing
from corral.tui.dialogs.write import WriteDialog
from corral.tui.text import clean_line, fit

__all__ = ["OptionsDialog", "range_text"]

_WIDTH = 110
_NAME, _VALUE, _RANGE = 22, 18, 14
_LEAST_ABOUT = 16
_AROUND = 15  # cells of frames, paddings and gaps beside the columns


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    value: str
    is_own: bool
    limits: str
    about: str


def range_text(option: Option) -> str:
    """What an option may be: `0 … 1`, `4 …`, `true, false`, `text`."""
    if option.kind is Kind.BOOL:
        return "true, false"
    if option.kind not in (Kind.INT, Kind.FLOAT):
        return {Kind.STRINGS: "texts", Kind.WEIGHTS: "token: bias"}.get(option.kind, "text")
    low = "" if math.isinf(option.low) else f"{option.low:g}"
    high = "" if math.isinf(option.high) or option.high >= 2**31 - 1 else f"{option.high:g}"
    return f"{low} … {high}".strip()


class OptionsDialog(SearchedList[None]):
    """The sheet of a chat. It changes `settings` at once; `defaults` are the model's own parameters, as texts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *browsing("options"),
        Binding("d,delete,backspace", "reset", "Reset", id="options.reset"),
    ]
    DEFAULT_CSS = """
    OptionsDialog OptionList { height: 1fr; scrollbar-size-vertical: 1; border: none; margin-top: 1; padding: 0; }
    OptionsDialog OptionList { background: transparent; }
    OptionsDialog OptionList:focus { border: none; }
    OptionsDialog .options-about { height: 2; color: $text-muted; }
    """

    def __init__(self, settings: ChatSettings, defaults: Mapping[str, str], model: str, *, thinks: bool) -> None:
        super().__init__()
        self._settings = settings
        self._defaults = defaults
        self._model = clean_line(model)
        self._thinks = thinks
        self._rows: list[_Row] = []

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog -large") as box:
            box.styles.width = _WIDTH
            box.border_title = Content(f"Options of this chat · {self._model}")
            box.border_subtitle = "⏎ change · in the list: d the model's own again · Esc close"
            yield Input(placeholder="find an option", compact=True)
            yield OptionList(markup=False)
            yield Static("", classes="options-about", markup=False)

    def on_mount(self) -> None:
        """List all."""
        self.query_one(Input).focus()
        self._fill()

    def _all(self) -> Iterator[_Row]:
        own = self._settings
        system = own.system or "model's own"
        yield _Row("system", system, bool(own.system), "text", "who the model is, said before everything else")
        levels = ", ".join(THINK_LEVELS[1:]) if self._thinks else "does not think"
        yield _Row("think", own.think_level, own.think is not None, levels, "whether, and how hard, it thinks first")
        yield _Row("format", own.form_text or "free", own.form is not None, "json, schema", "the form of the answer")
        names = [str(one["function"].get("name", "?")) for one in own.tools if isinstance(one["function"], dict)]
        yield _Row("tools", ", ".join(names) or "none", bool(names), "JSON", "functions that the model may call")
        # what a chat is about comes first, then what loads the model anew
        for name, option in sorted(OPTIONS.items(), key=lambda one: one[1].loads and one[0] != "num_ctx"):
            default = self._defaults.get(name, value_text(option.default))
            value = value_text(own.options[name]) if name in own.options else default or "none"
            loads = " (loads the model anew)" if option.loads else ""
            whose = "the model says" if name in self._defaults else "default"
            about = f"{whose} {default or 'none'}; {option.text}{loads}"
            yield _Row(name, value, name in own.options, range_text(option), about)

    def _fill(self) -> None:
        options = self.query_one(OptionList)
        place = options.highlighted
        words = self.query_one(Input).value.casefold().split()
        self._rows = [row for row in self._all() if all(word in f"{row.name} {row.about}".casefold() for word in words)]
        options.set_options(Entry(self._line(row)) for row in self._rows)
        if self._rows:
            options.highlighted = min(place or 0, len(self._rows) - 1)

    def _line(self, row: _Row) -> Content:
        room = min(_WIDTH, self.app.size.width * 9 // 10) - _NAME - _VALUE - _RANGE - _AROUND
        style = "bold $accent" if row.is_own else ""
        sign = "●" if row.is_own else " "
        if room < _LEAST_ABOUT:  # what it does, and may be, stands below the list too
            limits = fit(row.limits, room + _RANGE) if room >= 0 else ""
            return Content.assemble(
                (f"{sign} {fit(row.name, _NAME, pad=True)} {fit(row.value, _VALUE, pad=True)} ", style), (limits, "dim")
            )
        return Content.assemble(
            (f"{sign} {fit(row.name, _NAME, pad=True)} {fit(row.value, _VALUE, pad=True)} ", style),
            (f"{fit(row.limits, _RANGE, pad=True)} ", "dim"),
            (fit(row.about, room), "dim"),
        )

    @on(Input.Changed)
    def _searched(self) -> None:
        self._fill()

    @on(OptionList.OptionHighlighted)
    def _told(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._rows):
            row = self._rows[event.option_index]
            self.query_one(".options-about", Static).update(clean_line(f"{row.name}: {row.about}"), layout=False)

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _change(self) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._rows):
            self._ask(self._rows[place])

    def _ask(self, row: _Row) -> None:
        own = self._settings
        match row.name:
            case "think":
                level = THINK_LEVELS[(THINK_LEVELS.index(own.think_level) + 1) % len(THINK_LEVELS)]
                self._set("think", level)
            case "system":
                self._write(row, own.system, "Said to the model before everything else. Empty: the model's own.")
            case "format":
                self._write(row, own.form_text, "Empty for none, json, or a JSON Schema.")
            case "tools":
                text = json.dumps([dict(one) for one in own.tools], indent=2) if own.tools else ""
                self._write(row, text, 'A JSON list of {"type": "function", "function": {…}}. Empty: none.')
            case name:
                value = value_text(own.options[name]) if name in own.options else ""
                lines = [row.about, f"It may be: {row.limits}"]
                dialog = AskDialog(
                    name, lines, value=value, placeholder=row.value, check=lambda text: _problem(name, text)
                )
                self.app.push_screen(dialog, lambda text: self._set(name, text))

    def _write(self, row: _Row, text: str, about: str) -> None:
        def check(wanted: str) -> str:
            try:
                self._try(row.name, wanted)
            except ValueError as error:
                return str(error)
            return ""

        self.app.push_screen(
            WriteDialog(row.name, text, about=about, check=check), lambda wanted: self._set(row.name, wanted)
        )

    @staticmethod
    def _try(name: str, text: str) -> None:
        if name == "format":
            parse_format(text)
        elif name == "tools" and text.strip():
            parse_tools(text)

    def _set(self, name: str, text: str | None) -> None:
        if text is None:
            return
        own = self._settings
        match name:
            case "system":
                own.system = text.strip()
            case "think":
                own.set_think(text)
            case "format":
                own.form = parse_format(text)
            case "tools":
                own.tools = parse_tools(text) if text.strip() else ()
            case _:
                own.set_option(name, text)
        self._fill()

    def action_reset(self) -> None:
        """Make the option under the cursor the model's own again."""
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._rows):
            self._set(self._rows[place].name, "")


def _problem(name: str, text: str) -> str:
    try:
        checked_option(name, text)
    except ValueError as error:
        return str(error)
    return ""
