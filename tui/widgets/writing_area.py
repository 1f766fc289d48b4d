"""A text area that works its colours out when they change, not whenever its cursor blinks or a letter is typed."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import TextArea

__all__ = ["WritingArea"]


_BLINKS_S = 10.0
"""How long a cursor blinks after the last key (as GTK's do): it costs a fifth of a percent of a core."""


class WritingArea(TextArea):
    """Where something is written. `TextArea` asks the style sheet for six colours before each drawing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "to_edge(False)", "Go to the beginning of the text", show=False),
        Binding("ctrl+end", "to_edge(True)", "Go to the end of the text", show=False),
        Binding("ctrl+shift+home", "to_edge(False, True)", "Select to the beginning of the text", show=False),
        Binding("ctrl+shift+end", "to_edge(True, True)", "Select to the end of the text", show=False),
    ]
    _is_coloured = False
    _blinks_until_s = 0.0

    def action_to_edge(self, is_end: bool, selects: bool = False) -> None:
        """Go to an end of the text, which Textual has no keys for; `selects` what lies between."""
        self.move_cursor(self.document.end if is_end else (0, 0), select=selects)

    def _restart_blink(self) -> None:
        self._blinks_until_s = time.monotonic() + _BLINKS_S
        super()._restart_blink()

    def _toggle_cursor_blink_visible(self) -> None:
        if time.monotonic() < self._blinks_until_s:
            super()._toggle_cursor_blink_visible()
        else:
            self._pause_blink()

    def _set_theme(self, theme: str) -> None:
        super()._set_theme(theme)
        self._is_coloured = False

    def notify_style_update(self) -> None:
        """Work out the colours anew."""
        super().notify_style_update()
        self._is_coloured = False

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw rows."""
        if self._is_coloured:
            return super(TextArea, self).render_lines(crop)
        self._is_coloured = True
        return super().render_lines(crop)
