"""When a screen is drawn: as soon as something has changed, unless the last frame was drawn just now.

Textual asks a timer of 60 beats a second. A frame that misses its beat by a little waits for the next but one: up to
33 ms for a letter that is typed behind a frame.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from textual.screen import Screen
from textual.timer import Timer

__all__ = ["FrameTimer", "SoonDrawn"]

_REST_S = 0.008
"""For how long nothing is drawn behind a frame, so that what changes meanwhile is drawn in one."""


class FrameTimer:
    """Draws a screen once each time it is told to go on. Stands in for Textual's timer; the loop's own."""

    def __init__(self, screen: Screen[Any]) -> None:
        self._screen = screen
        self._next: asyncio.TimerHandle | None = None
        self._drawn_s = float("-inf")

    def resume(self) -> None:
        """Draw as soon as the last frame has had its rest."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(self._drawn_s + _REST_S, loop.time()), self._draw)

    def pause(self) -> None:
        """Draw nothing until told to go on."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _draw(self) -> None:
        self._next = None
        screen = self._screen
        if not (screen.is_attached and screen.app.is_running) or screen.app._exit:
            return
        try:
            screen._on_timer_update()
        except Exception as error:
            screen.app._handle_exception(error)
        self._drawn_s = asyncio.get_running_loop().time()


class SoonDrawn:
    """Goes before a screen's class, which is then drawn so. Textual has no public place for that.

    No screen itself: a screen takes its style rules from its first base that is one.
    """

    _frames: FrameTimer | None = None

    @property
    def _update_timer(self) -> Timer:
        if self._frames is None:
            self._frames = FrameTimer(cast("Screen[Any]", self))
        return cast("Timer", self._frames)
