"""From token pieces to text that may leave: whole UTF-8 only, stop strings cut, what might become one held back."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Final

_utf8: Final = codecs.getincrementaldecoder("utf-8")


class TextStream:
    """The text of one answer as it grows; belongs to the loop's thread.

    `stop` is the stop string that was seen, "" for none; nothing comes after it.
    """

    __slots__ = ("_decoder", "_firsts", "_held", "_longest", "_stops", "stop")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = _utf8(errors="replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._firsts = frozenset(stop[0] for stop in self._stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stop = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string was seen."""
        return bool(self.stop)

    def push(self, piece: bytes) -> str:
        """Take a token's bytes and return the text that is now certain."""
        text = self._decoder.decode(piece)
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        cut, self.stop = self._find_stop(text)
        if self.stop:
            self._held = ""
            return text[:cut]
        keep = self._possible_stop(text)
        self._held = text[keep:]
        return text[:keep]

    def flush(self) -> str:
        """Return what was held back, at the end; bytes of an unfinished character are dropped."""
        text, self._held = self._held, ""
        return "" if self.stopped else text

    def _find_stop(self, text: str) -> tuple[int, str]:
        """Return where the earliest stop string begins, and which it is: "" if there is none."""
        found = [(at, stop) for at, stop in ((text.find(stop), stop) for stop in self._stops) if at >= 0]
        return min(found, default=(-1, ""))

    def _possible_stop(self, text: str) -> int:
        """Return where a tail begins that could still grow into a stop string; the length if there is none."""
        end = len(text)
        for start in range(max(0, end - self._longest + 1), end):
            if text[start] in self._firsts and any(stop.startswith(text[start:]) for stop in self._stops):
                return start
        return end
