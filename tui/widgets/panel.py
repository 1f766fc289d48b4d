"""A framed part of a screen with a title and figures in its frame; the frame is heavy where the focus is."""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content

from corral.tui.text import clean_line
from corral.tui.widgets.repaint import PartialRepaint


class Panel(PartialRepaint, Vertical):
    """A box whose title and subtitle are never read as markup and change without a new layout."""

    DEFAULT_CSS = """
    Panel {
        border: round $border-blurred;
        border-title-color: $foreground;
        border-subtitle-color: $text-muted;
        border-title-style: bold;
        padding: 0 1;
        height: 1fr;
    }
    Panel:focus-within { border: heavy $border; }
    """

    def __init__(self, title: str, *, widget_id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=widget_id, classes=classes)
        self._said: tuple[str, str] | None = None
        self._texts = ("", "")
        self.entitle(title)

    def entitle(self, title: str, subtitle: str = "") -> None:
        """Say what the panel shows; costs nothing where it says so already."""
        if (title, subtitle) == self._said:
            return
        self._said = (title, subtitle)
        texts = (clean_line(title), clean_line(subtitle))
        before, self._texts = self._texts, texts
        if texts[0] != before[0]:
            with self.repainting(self.top_edge):
                self.border_title = Content(texts[0])
        if texts[1] != before[1]:
            with self.repainting(self.bottom_edge):
                self.border_subtitle = Content(texts[1])
