"""What several typed lines amount to: a message, a system message or a command. Pure; knows no terminal."""

from __future__ import annotations

from enum import StrEnum

import msgspec

FENCE = '"""'
_SET_SYSTEM = "/set system "


class EntryKind(StrEnum):
    """What a complete entry is."""

    MESSAGE = "message"
    SYSTEM = "system"
    COMMAND = "command"


class Entry(msgspec.Struct, frozen=True):
    """Something complete that was typed."""

    kind: EntryKind
    text: str


class Assembler:
    '''Takes lines until an entry is complete. Between two `"""` everything is text; else a line is an entry.'''

    def __init__(self) -> None:
        self._open: EntryKind | None = None
        self._text = ""

    @property
    def open(self) -> bool:
        """Whether an entry waits for its closing fence."""
        return self._open is not None

    def reset(self) -> None:
        """Throw away what was begun."""
        self._open, self._text = None, ""

    def feed(self, line: str) -> Entry | None:
        """Take a line (a pasted one may hold several); returns the entry it completes."""
        if self._open is not None:
            return self._take(self._open, line)
        if line.startswith(FENCE):
            return self._take(EntryKind.MESSAGE, line.removeprefix(FENCE))
        if line.startswith(_SET_SYSTEM):
            text = line.removeprefix(_SET_SYSTEM).lstrip(" ")
            if text.startswith(FENCE):
                return self._take(EntryKind.SYSTEM, text.removeprefix(FENCE))
            if text:
                return Entry(EntryKind.SYSTEM, text)
        if line.startswith("/") and "\n" not in line:
            return Entry(EntryKind.COMMAND, line)
        return Entry(EntryKind.MESSAGE, line) if line.strip() else None

    def _take(self, kind: EntryKind, line: str) -> Entry | None:
        if not line.endswith(FENCE):
            self._open, self._text = kind, f"{self._text}{line}\n"
            return None
        entry = Entry(kind, self._text + line.removesuffix(FENCE))
        self.reset()
        return entry
