"""A question answered with a line of text, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Input, Static

from corral.tui.dialogs.dialog import Dialog
from corral.tui.text import clean, clean_line

Check = Callable[[str], str]
"""What is wrong with an answer, "" where nothing is."""


class AskDialog(Dialog[str | None]):
    """Asks for a line; Enter gives it where `check` has nothing against it, Escape gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="ask.cancel")]
    DEFAULT_CSS = """
    AskDialog .dialog-text { margin: 0; }
    AskDialog Input { margin: 1 0 0 0; }
    AskDialog .ask-problem { height: 1; color: $error; }
    """

    def __init__(
        self,
        title: str,
        lines: Sequence[str],
        *,
        value: str = "",
        placeholder: str = "",
        check: Check | None = None,
        suggester: Suggester | None = None,
    ) -> None:
        super().__init__()
        self._title = clean_line(title)
        self._lines = "\n".join(clean(line) for line in lines)
        self._value = clean_line(value)
        self._placeholder = placeholder
        self._check = check
        self._suggester = suggester

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "Enter go on · Esc cancel"
            yield Static(self._lines, classes="dialog-text", markup=False)
            yield Input(self._value, placeholder=self._placeholder, compact=True, suggester=self._suggester)
            yield Static("", classes="ask-problem", markup=False)

    def on_mount(self) -> None:
        """Let it be typed at once."""
        self.query_one(Input).focus()

    def _problem(self, text: str) -> str:
        if not text:
            return "type a name first"
        return self._check(text) if self._check is not None else ""

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        problem = self._problem(event.value.strip()) if event.value.strip() else ""
        self.query_one(".ask-problem", Static).update(clean_line(problem), layout=False)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        problem = self._problem(text)
        if problem:
            self.query_one(".ask-problem", Static).update(f"✗ {clean_line(problem)}", layout=False)
        else:
            self.dismiss(text)

    def action_cancel(self) -> None:
        """Give no answer."""
        self.dismiss(None)


def check_model_name(text: str) -> str:
    """What keeps a text from being a model name."""
    from corral.store.errors import InvalidName
    from corral.store.names import ModelName

    try:
        ModelName.parse(text)
    except InvalidName:
        return "a name is [host/][namespace/]model[:tag] of letters, digits, dots, dashes"
    return ""
