"""The terminal's answers among what is typed, taken out before anybody takes their pieces for keys.

An answer may come in pieces, each as late as the line is. Textual gives up on a sequence after 0.1 s and types what
came of it.
"""

from __future__ import annotations

import re

from textual.constants import ESCAPE_DELAY

__all__ = ["AnswerSieve"]

_ANSWER = re.compile(r"\x1b\[\d{1,5};\d{1,5}R")
"""Where the cursor is (ECMA-48 CPR)."""
_BEGUN = re.compile(r"\x1b(?:\[(?:\d{1,5}(?:;\d{0,5})?)?)?\Z")
_PIECES_S = 1.0
"""How long the rest of an answer is waited for."""
_LATE_S = 0.3
"""For how long after an escape that counted as a key the rest of an answer may still follow it."""


class AnswerSieve:
    """Parts answers from keys. `is_asked` is to say whether an answer is due."""

    def __init__(self) -> None:
        self.is_asked = False
        self._held = ""
        self._held_s = 0.0
        self._is_told = False
        """Whether the escape that is held has been given out as a key."""

    @property
    def is_holding(self) -> bool:
        """Whether something is held back, of which the clock says what it is."""
        return bool(self._held)

    def feed(self, text: str, now_s: float) -> tuple[str, int]:
        """What was read at `now_s`, without answers; and how many there were. What may become one is held back."""
        if not text:
            return "", 0
        text, self._held = self._held + text, ""
        count = 0
        if self._is_told:
            if _BEGUN.fullmatch(text):
                self._hold(text, now_s)
                return "", 0
            self._is_told = False
            answer = _ANSWER.match(text)
            count = int(answer is not None)
            text = text[answer.end() :] if answer is not None else text[1:]
        text, more = _ANSWER.subn("", text)
        if (begun := _BEGUN.search(text)) is not None:
            self._hold(begun[0], now_s)
            text = text[: begun.start()]
        return text, count + more

    def overdue(self, now_s: float) -> str:
        """What is no longer held back; a lone escape is the key."""
        if not self._held:
            return ""
        is_escape = len(self._held) == 1
        patience_s = _PIECES_S if not is_escape else _LATE_S if self._is_told else ESCAPE_DELAY
        if now_s - self._held_s < patience_s:
            return ""
        due, self._held = self._held, ""
        if self._is_told:
            self._is_told = False
            return due[1:]
        if is_escape and self.is_asked:
            self._is_told = True
            self._hold(due, now_s)
        return due

    def _hold(self, text: str, now_s: float) -> None:
        self._held, self._held_s = text, now_s
