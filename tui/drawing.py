"""Textual's updates on their way to a terminal: what changed, when the terminal has taken what was sent before."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable

from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Offset, Size

from corral.tui.frame import Frame, way
from corral.tui.pacing import QUESTION, Pace

__all__ = ["Drawing"]

_SYNC_START, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_CLEAR = "\x1b(B\x0f\x1b[0m\x1b[4l\x1b[?6l\x1b[?7l\x1b[r\x1b[2J"
"""Puts away what other programs left of characters, styles, inserting, margins and wrapping, and all they wrote."""


class Drawing:
    """What shall be seen, what is seen, and when the difference is sent. Textual's loop's own, but for `answered`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.pace = Pace()
        self.in_one_go = False
        """Whether the terminal can show a frame in one go (mode 2026)."""
        self._write = write
        self._wanted = self._shown = Frame(0, 0)
        self._cursor = self._cursor_shown = Offset(0, 0)
        self._can_erase = False
        self._is_behind = False
        self.is_over = False
        """Whether the terminal is left, for good or to an editor."""
        self._must_clear = False
        self.size_known_s = math.inf
        """Until when telling its size says nothing of what stands there; endless before the first frame."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def size(self) -> Size:
        """Of what shall be seen."""
        return Size(self._wanted.width, self._wanted.height)

    def forget(self) -> None:
        """Somebody else has drawn, or will now no longer: nothing is known of what stands there."""
        self._shown = Frame.unknown(self._wanted.width, self._wanted.height)
        self.is_over = False
        self.size_known_s = math.inf
        self.pace.forget()

    def resized(self, size: Size, told_s: float) -> None:
        """Draw everything again where a window is back at the size it had: what it lost on the way is not known here.

        Not where its size was told, at `told_s` by the monotonic clock, because somebody began to look.
        """
        if size == self.size and told_s > self.size_known_s:
            self.repaint()

    def repaint(self, *, clear: bool = False) -> None:
        """Draw everything again, for what others may have drawn; `clear` first, and at once."""
        if self.is_over or not self._wanted.width:
            return
        self._shown = Frame.unknown(self._wanted.width, self._wanted.height)
        self._is_behind = True
        if clear:
            self._must_clear = True
            self.pace.forget()
        self._send()

    def leave(self, patience_s: float, first_s: float) -> None:
        """Draw no more, and wait until the terminal has answered what it was asked: the shell is no place for that.

        One that has never answered gets `first_s`.
        """
        self.is_over = True
        self.pace.wait_for_answers(patience_s, first_s)

    def take(self, update: CompositorUpdate, cursor: Offset, size: Size, colors: ColorSystem) -> bool:
        """Draw an update, now or when it may be sent; False where it is of a kind that is not known here."""
        if (self._wanted.width, self._wanted.height) != size:
            if not isinstance(update, LayoutUpdate):
                return False
            self._wanted, self._shown = Frame(*size), Frame.unknown(*size)
        if isinstance(update, LayoutUpdate):
            self._take_layout(update, colors)
        elif isinstance(update, ChopsUpdate):
            self._take_chops(update, colors)
        else:
            return False
        self._cursor = cursor
        self._is_behind = True
        self._send()
        return True

    def answered(self) -> None:
        """The terminal has answered. Called by the thread that reads it."""
        self.pace.answered()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, perhaps this moment
                self._loop.call_soon_threadsafe(self._learn_and_send)

    def _learn_and_send(self) -> None:
        if not self._can_erase:
            self._can_erase = _erases_in_colour()
        self._send()

    def _send(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._is_behind or self.is_over:
            return
        self._loop = asyncio.get_running_loop()
        wait_s = self.pace.wait_s(now_s := time.monotonic())
        if wait_s > 0:
            self._retry = self._loop.call_later(wait_s, self._send)
            return
        self._is_behind = False
        changes = way(self._shown, self._wanted, can_erase=self._can_erase)
        if not changes and self._cursor == self._cursor_shown:
            return
        self._cursor_shown = self._cursor
        if self._must_clear:
            changes, self._must_clear = _CLEAR + changes, False
        frame = f"{changes}\x1b[{self._cursor.y + 1};{self._cursor.x + 1}H"
        if self.in_one_go:
            frame = f"{_SYNC_START}{frame}{_SYNC_END}"
        if self.pace.should_ask:
            frame += QUESTION
            self.pace.sent(len(frame.encode("utf-8", "replace")), now_s)
        self.size_known_s = min(self.size_known_s, now_s)
        self._write(frame)

    def _take_layout(self, update: LayoutUpdate, colors: ColorSystem) -> None:
        for y, strips in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in strips:
                self._wanted.put(x, y, strip, colors)
                x += strip.cell_length

    def _take_chops(self, update: ChopsUpdate, colors: ColorSystem) -> None:
        # As `ChopsUpdate.render_segments` does.
        for y, first, last in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x <= last and end > first:
                    self._wanted.put(x, y, strip if end <= last else strip.crop(0, last - x), colors)


def _erases_in_colour() -> bool:
    """Whether erased cells take the background's colour on this terminal (terminfo: bce)."""
    try:
        import curses
    except ImportError:
        return False
    try:
        curses.setupterm(os.environ.get("TERM"), sys.__stdout__.fileno() if sys.__stdout__ is not None else -1)
    except (curses.error, OSError):
        return False
    return curses.tigetflag("bce") == 1
