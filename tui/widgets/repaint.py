"""Drawing a part of a widget where Textual draws all of it again, and laying out once what it lays out twice.

Over a slow line that is the difference between a row and a screenful, several times a second; and what is not drawn
costs no processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.style import Style
from textual.color import Color
from textual.geometry import Region, Size

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # a widget takes its style rules from its first base that is a widget, which these must not be

__all__ = ["LaidOnce", "PartialRepaint", "StyledOnce"]


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

    @property
    def top_edge(self) -> Region:
        """The row of the whole widget where its title stands, counted from where its content begins."""
        return self._row(0)

    @property
    def bottom_edge(self) -> Region:
        """The row of its subtitle."""
        return self._row(self.outer_size.height - 1)

    def _row(self, row: int) -> Region:
        left, top = self.content_offset
        return Region(-left, row - top, self.outer_size.width, 1)

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Paint again; all of it unless somebody said which part."""
        if self._only is not None and not regions:
            regions = (self._only,)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class StyledOnce(Widget):
    """Goes before the class of a widget that draws its rows itself: its styles are worked out once for all of them."""

    @property
    def rich_style(self) -> Style:
        """The style of what has none of its own; forgotten when those of its components are."""
        if () not in self._rich_style_cache:
            style = super().rich_style
            self._rich_style_cache[()] = (style, style)
        return self._rich_style_cache[()][0]

    _backgrounds: tuple[Color, Color] | None = None

    @property
    def background_colors(self) -> tuple[Color, Color]:
        """What lies beneath it and its own, mixed from those of all that it lies in."""
        if self._backgrounds is None:
            self._backgrounds = super().background_colors
        return self._backgrounds

    def notify_style_update(self) -> None:
        """Work the styles out anew."""
        self._backgrounds = None
        super().notify_style_update()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Paint again; where only a part is, its content has changed and no style, so those are kept."""
        if not regions:
            self._backgrounds = None
        kept = dict(self._rich_style_cache) if regions else {}
        super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        self._rich_style_cache.update(kept)
        return self


class LaidOnce(Widget):
    """Goes before the class of a widget that is as high as what is in it.

    Whenever a layout has made such a widget higher or lower, Textual asks for another one, in which nothing moves.
    """

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        is_other = size.width != self.outer_size.width
        return super()._size_updated(size, virtual_size, container_size, layout=layout and is_other)
