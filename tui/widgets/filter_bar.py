"""The line a list is filtered with, or searched: appears with `/`, goes with Escape."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static


class FilterBar(Horizontal):
    """A hidden line of input that reports every change."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; }
    FilterBar.-open { display: block; }
    FilterBar Static { width: 2; color: $accent; }
    FilterBar Input { width: 1fr; border: none; height: 1; padding: 0; background: transparent; }
    FilterBar Input:focus { border: none; }
    """

    class Changed(Message):
        """Another filter line holds."""

        def __init__(self, bar: FilterBar, line: str) -> None:
            super().__init__()
            self.bar = bar
            self.line = line

        @property
        def control(self) -> FilterBar:
            """The bar it was typed in."""
            return self.bar

    class Left(Message):
        """The reader is done typing: the list should have the focus."""

        def __init__(self, bar: FilterBar) -> None:
            super().__init__()
            self.bar = bar

        @property
        def control(self) -> FilterBar:
            """The bar it was typed in."""
            return self.bar

    def __init__(
        self, *, widget_id: str | None = None, sign: str = "/", hint: str = "letters in order · !not · re:pattern"
    ) -> None:
        super().__init__(id=widget_id)
        self._sign = sign
        self._hint = hint

    def compose(self) -> ComposeResult:
        """The key that opens it and the line."""
        yield Static(self._sign, markup=False)
        yield Input(placeholder=self._hint, compact=True, select_on_focus=False, disabled=True)

    @property
    def line(self) -> str:
        """What is filtered by."""
        return self.query_one(Input).value

    def open(self) -> None:
        """Show the line and let it be typed in."""
        self.add_class("-open")
        line = self.query_one(Input)
        line.disabled = False  # a line that is not shown must not get the focus
        line.focus()

    def close(self) -> None:
        """Take filter and line away."""
        line = self.query_one(Input)
        line.value = ""
        line.disabled = True
        self.remove_class("-open")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self, event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value:
            self.close()
        self.post_message(self.Left(self))
