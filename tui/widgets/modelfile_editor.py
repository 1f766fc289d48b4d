"""A text area that knows Modelfiles: colours, line numbers, and what is wrong beside the line it is wrong in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size

from corral.store.lint import Finding, Severity
from corral.tui.modelfile_completion import Offers, offers
from corral.tui.text import SIGN_EACH, clean_line
from corral.tui.widgets.modelfile_syntax import Kind, Stretch, stretches
from corral.tui.widgets.writing_area import WritingArea

_SIGNS = {Severity.ERROR: "✗", Severity.WARNING: "!"}


class ModelfileEditor(WritingArea):
    """The editor. Findings are drawn behind their lines and are no part of the text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "accept", "Take what is offered", show=False)]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"modelfile--{kind.value}" for kind in Kind} | {
        "modelfile--error",
        "modelfile--warning",
    }
    DEFAULT_CSS = """
    ModelfileEditor { height: 1fr; border: none; padding: 0; background: transparent; }
    ModelfileEditor:focus { border: none; }
    ModelfileEditor .modelfile--command { color: $accent; text-style: bold; }
    ModelfileEditor .modelfile--unknown { color: $error; text-style: underline; }
    ModelfileEditor .modelfile--name { color: $secondary; }
    ModelfileEditor .modelfile--value { color: $foreground; }
    ModelfileEditor .modelfile--string { color: $success; }
    ModelfileEditor .modelfile--action { color: $warning; }
    ModelfileEditor .modelfile--comment { text-style: dim italic; }
    ModelfileEditor .modelfile--error { color: $error; text-style: italic; }
    ModelfileEditor .modelfile--warning { color: $warning; text-style: italic; }
    """

    def __init__(self, text: str = "", *, widget_id: str | None = None) -> None:
        super().__init__(text, id=widget_id, show_line_numbers=True, soft_wrap=False, compact=True)
        self.cursor_blink = False
        self._parsed_lines: list[str] = []
        self._stretches: list[list[Stretch]] = []
        self._findings: dict[int, Finding] = {}
        self.models: tuple[str, ...] = ()
        self.offered = Offers()

    def _refresh_size(self) -> None:
        """Take the whole pane: Textual cuts what stands behind the lines at the longest one's end."""
        super()._refresh_size()
        room = self.scrollable_content_region.width
        if self.virtual_size.width < room:
            self.virtual_size = Size(room, self.virtual_size.height)

    def mark(self, findings: Sequence[Finding]) -> None:
        """Draw the first finding of each line behind it."""
        first = {finding.line - 1: finding for finding in reversed(findings)}
        if first != self._findings:
            self._findings = first
            self.notify_style_update()
            self.refresh()

    def update_suggestion(self) -> None:
        """Offer behind the cursor what can stand there, at the end of a line that is no part of a string."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        is_inside = any(stretch.kind is Kind.STRING for stretch in self._line_stretches(row)[:1])
        self.offered = Offers() if is_inside or column < len(line) else offers(line, self.models)
        self.suggestion = self.offered.ghost

    def action_accept(self) -> None:
        """Take what is offered; without an offer, go on to the next pane."""
        if self.suggestion:
            self.insert(self.suggestion)
        else:
            self.screen.focus_next()

    def go_to(self, line: int, column: int) -> None:
        """Put the cursor there, both counted from 1, and type on."""
        row = min(max(line - 1, 0), self.document.line_count - 1)
        self.move_cursor((row, min(max(column - 1, 0), len(self.document.get_line(row)))), center=True)
        self.focus()

    def _line_stretches(self, line_index: int) -> list[Stretch]:
        lines = self.document.lines
        if lines != self._parsed_lines:
            self._parsed_lines = list(lines)
            self._stretches = stretches(lines)
        return self._stretches[line_index] if line_index < len(self._stretches) else []

    def get_line(self, line_index: int) -> Text:
        """The line with its colours; a control character, which a terminal would obey, is a sign of one cell."""
        text = Text(self.document.get_line(line_index).translate(SIGN_EACH), end="", no_wrap=True)
        for stretch in self._line_stretches(line_index):
            style = self.get_component_rich_style(f"modelfile--{stretch.kind}", partial=True)
            text.stylize(style, stretch.start, stretch.end)
        finding = self._findings.get(line_index)
        if finding is not None:
            style = self.get_component_rich_style(f"modelfile--{finding.severity}", partial=True)
            text.append(f"   {_SIGNS[finding.severity]} {clean_line(finding.message)}", style)
        return text
