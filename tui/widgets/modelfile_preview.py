"""Beside the editor: what the text changes, the prompt it makes, how it answers, what the word under the cursor is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from corral.tui.modelfile_diff import Change, Sign
from corral.tui.text import clean, clean_line
from corral.tui.widgets.tab_line import TabLine

_LONGEST = 60_000


class Part(StrEnum):
    """What the pane can show, with the labels of its tabs."""

    DIFF = "Diff"
    PROMPT = "Prompt"
    TRY = "Try"
    HELP = "Help"


def diff_text(changes: Sequence[Change], heading: str) -> Text:
    """A diff with signs and colours."""
    styles = {Sign.ADDED: "green", Sign.REMOVED: "red", Sign.SAME: "dim"}
    lines = [Text(heading, style="bold")] if heading else []
    lines += [Text(f"{one.sign} {clean_line(one.text)}", style=styles[one.sign]) for one in changes]
    return Text("\n").join(lines)


class ModelfilePreview(Vertical):
    """The pane: tabs, a text, and a line to ask with."""

    DEFAULT_CSS = """
    ModelfilePreview { height: 1fr; }
    ModelfilePreview VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    ModelfilePreview VerticalScroll Static { height: auto; }
    ModelfilePreview Input { height: 1; border: none; padding: 0; background: transparent; display: none; }
    ModelfilePreview Input:focus { border: none; }
    ModelfilePreview.-asks Input { display: block; }
    """

    class Turned(Message):
        """Another part is shown."""

        def __init__(self, part: Part) -> None:
            super().__init__()
            self.part = part

    class Asked(Message):
        """A question was typed for the part that is shown."""

        def __init__(self, part: Part, prompt: str) -> None:
            super().__init__()
            self.part = part
            self.prompt = prompt

    def __init__(self) -> None:
        super().__init__()
        self.part = Part.DIFF
        self._texts: dict[Part, Text] = {}

    def compose(self) -> ComposeResult:
        """Tabs, text, question."""
        yield TabLine(list(Part))
        with VerticalScroll():
            yield Static(markup=False)
        yield Input(placeholder="a question, Enter asks it", compact=True, disabled=True)

    @property
    def prompt(self) -> str:
        """The question, "hello" where none was typed."""
        return self.query_one(Input).value.strip() or "hello"

    def put(self, part: Part, text: Text | str) -> None:
        """Set the text of a part."""
        shown = Text(clean(text[:_LONGEST])) if isinstance(text, str) else text
        if shown != self._texts.get(part):
            self._texts[part] = shown
            if part is self.part:
                self._draw()

    def turn(self, part: Part, *, asks: bool = False) -> None:
        """Show a part; with `asks`, let the question be typed."""
        if part is not self.part:
            self.part = part
            self.query_one(TabLine).choose(list(Part).index(part))
            self._draw()
            self.post_message(self.Turned(part))
        line = self.query_one(Input)
        line.disabled = part not in (Part.PROMPT, Part.TRY)
        self.set_class(not line.disabled, "-asks")
        if asks:
            line.focus()

    def turn_by(self, step: int) -> None:
        """Show the part so many further."""
        every = list(Part)
        self.turn(every[(every.index(self.part) + step) % len(every)])

    def _draw(self) -> None:
        self.query_one("VerticalScroll Static", Static).update(self._texts.get(self.part, Text()))

    def follow(self) -> None:
        """Show the end of the text."""
        self.query_one(VerticalScroll).scroll_end(animate=False)

    @on(TabLine.Chosen)
    def _chosen(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.turn(list(Part)[event.index])

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Asked(self.part, self.prompt))
