"""What may be typed next, above the prompt: arrows choose, Tab takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from corral.tui.completing import Suggestion
from corral.tui.text import fit

__all__ = ["Suggestions"]

_TEXT_CELLS = 34


class Suggestions(OptionList, can_focus=False):
    """A short list that never takes the focus from the prompt."""

    DEFAULT_CSS = """
    Suggestions { height: auto; max-height: 8; border: round $border-blurred; padding: 0 1; display: none; }
    Suggestions { text-wrap: nowrap; text-overflow: ellipsis; }
    Suggestions.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._shown: Sequence[Suggestion] = ()
        self.is_touched = False
        """Whether the user moved in it, so that Enter means what is marked here."""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose from."""
        return bool(self._shown)

    def show(self, suggestions: Sequence[Suggestion]) -> None:
        """Offer these, the first one marked."""
        if suggestions == self._shown:
            return
        self._shown = suggestions
        self.is_touched = False
        self.set_class(bool(suggestions), "-open")
        cells = min(max((cell_len(one.text) for one in suggestions), default=0), _TEXT_CELLS)
        self.set_options(
            Option(Content.assemble(fit(one.text, cells, pad=bool(one.about)), ("  " + fit(one.about, 60), "dim")))
            for one in suggestions
        )
        self.highlighted = 0 if suggestions else None

    def move(self, by: int) -> None:
        """Mark another one."""
        self.is_touched = True
        self.highlighted = ((self.highlighted or 0) + by) % len(self._shown)

    @property
    def marked(self) -> Suggestion | None:
        """The one that would be taken."""
        return self._shown[self.highlighted or 0] if self._shown else None
