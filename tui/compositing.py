"""Puts a screen together from its widgets, asking each for no more rows than are sent.

Textual asks every widget within the box around all that has changed for all of its rows: two figures in opposite
corners cost the whole screen, several times a second. And it asks all that lie behind one another, down to the screen's
own background, though only the foremost is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip

__all__ = ["ChangedRows"]


class ChangedRows(Compositor):
    """A compositor that draws changes from the rows they are in. Textual has no public place for that."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: tuple[Region, ...] = ()

    def render_partial_update(self) -> ChopsUpdate | None:
        """Draw what has changed."""
        self._changed = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._changed = ()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        return self._changed_renders() if self._changed else super()._get_renders(crop)

    def _changed_renders(self) -> Iterator[tuple[Region, Region, list[Strip]]]:
        """The widgets that are seen in what has changed, front to back, each cut down to the rows of that."""
        uncovered = self._changed
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            touched = [one.intersection(shown) for one in uncovered if one.overlaps(shown)]
            if not touched:
                continue
            top, bottom = min(one.y for one in touched), max(one.bottom for one in touched)
            rows = Region(shown.x, top, shown.width, bottom - top)
            yield region, rows, widget.render_lines(rows.translate(-region.offset))
            uncovered = tuple(one for one in uncovered if not shown.contains_region(one))
            if not uncovered:
                return
