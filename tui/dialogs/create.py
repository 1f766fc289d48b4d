"""The question how a new model shall be called, and whether its weights are made smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from corral.runtime.errors import RunError
from corral.runtime.quantize import quantization_of
from corral.store.errors import StoreError
from corral.tui.dialogs.ask import check_model_name
from corral.tui.dialogs.dialog import Dialog
from corral.tui.text import clean, clean_line

_TYPES = ("q4_K_M", "q4_K_S", "q5_K_M", "q6_K", "q8_0", "f16")


@dataclass(frozen=True, slots=True)
class NewModel:
    """A name, and the type its weights are rewritten in, "" for as they are."""

    name: str
    quantize: str = ""


class CreateDialog(Dialog[NewModel | None]):
    """Asks for both; Enter gives them where they make sense, Escape gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="create.cancel")]
    DEFAULT_CSS = """
    CreateDialog Horizontal { height: 1; margin-top: 1; }
    CreateDialog Horizontal Static { width: 10; }
    CreateDialog Horizontal Input { width: 1fr; }
    CreateDialog .ask-problem { height: 1; color: $error; }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name_to_begin_with = clean_line(name)

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Create a model"
            box.border_subtitle = "Enter create · Tab next · Esc cancel"
            yield Static(Content("What shall it be called?"), classes="dialog-text")
            with Horizontal():
                yield Static("name", markup=False)
                yield Input(self._name_to_begin_with, id="create-name", compact=True)
            with Horizontal():
                yield Static("quantize", markup=False)
                yield Input(
                    id="create-quantize",
                    placeholder="as it is; q4_K_M, q8_0 … where FROM is f16 or f32",
                    compact=True,
                    suggester=SuggestFromList(_TYPES, case_sensitive=False),
                )
            yield Static("", classes="ask-problem", markup=False)

    def on_mount(self) -> None:
        """Let the name be typed at once."""
        self.query_one("#create-name", Input).focus()

    def _answer(self) -> NewModel:
        name, quantize = (self.query_one(one, Input).value.strip() for one in ("#create-name", "#create-quantize"))
        return NewModel(name, quantize)

    def _problem(self, answer: NewModel) -> str:
        if problem := check_model_name(answer.name) if answer.name else "type a name first":
            return problem
        if answer.quantize:
            try:
                quantization_of(answer.quantize)
            except (RunError, StoreError) as error:
                return str(error)
        return ""

    @on(Input.Changed)
    def _changed(self) -> None:
        answer = self._answer()
        self._say(self._problem(answer) if answer.name else "")

    def _say(self, text: str) -> None:
        self.query_one(".ask-problem", Static).update(clean_line(clean(text)), layout=False)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        answer = self._answer()
        if problem := self._problem(answer):
            self._say(f"✗ {problem}")
        else:
            self.dismiss(answer)

    def action_cancel(self) -> None:
        """Give no answer."""
        self.dismiss(None)
