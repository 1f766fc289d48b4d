"""Painting a part of a widget where Textual's setters paint all of it again.

Over a slow line that is the difference between a row and a screenful, several times a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from textual.geometry import Region

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # a widget takes its style rules from its first base that is a widget, which this must not be

__all__ = ["PartialRepaint"]


class PartialRepaint(Widget):
    """Goes before a widget's class; its setters can then be told which part they change."""

    _only: Region | None = None

    @contextmanager
    def repainting(self, region: Region) -> Iterator[None]:
        """Paint only `region`, relative to the content, for what is set within."""
        self._only = region
        try:
            yield
        finally:
            self._only = None

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Paint again; all of it unless somebody said which part."""
        if self._only is not None and not regions:
            regions = (self._only,)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
