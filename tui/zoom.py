"""One pane in all the room there is, and back."""

from __future__ import annotations

from collections.abc import Iterator

from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import TextArea

__all__ = ["is_zoomed", "zoom"]

_LARGE, _ASIDE = "-zoomed", "-aside"


def is_zoomed(screen: Screen[object]) -> bool:
    """Whether one of its panes has taken the room of the others."""
    return bool(screen.query(f".{_LARGE}"))


def zoom(screen: Screen[object]) -> bool:
    """Give the pane with the focus the room of the others, or give that back; False where no pane has the focus.

    Where something is written stays, and so does what has no frame: lines that belong to the panes.
    """
    if is_zoomed(screen):
        for widget in screen.query(f".{_LARGE}, .{_ASIDE}"):
            widget.remove_class(_LARGE, _ASIDE)
        return True
    pane = _pane(screen.focused)
    if pane is None:
        return False
    for widget in _up(pane):
        for sibling in widget.siblings:
            sibling.set_class(any(map(_is_framed, sibling.walk_children(Widget, with_self=True))), _ASIDE)
        widget.add_class(_LARGE)
    return True


def _is_framed(widget: Widget) -> bool:
    return bool(widget.styles.border_top[0]) and not isinstance(widget, TextArea)


def _up(widget: Widget) -> Iterator[Widget]:
    """A widget and what it is in, below the screen's body."""
    while widget.id != "body" and isinstance(widget.parent, Widget):
        yield widget
        widget = widget.parent


def _pane(focused: Widget | None) -> Widget | None:
    """The framed pane that has the focus."""
    return next((one for one in _up(focused) if _is_framed(one)), None) if focused is not None else None
