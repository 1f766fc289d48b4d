"""The prompts of earlier conversations, in Ollama's own file: one a line, the newest hundred."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

LIMIT = 100


class LinesHistory(History):
    """A history in a plain file. While `enabled` is false nothing is added."""

    def __init__(self, path: Path, *, enabled: bool) -> None:
        super().__init__()
        self._path = path
        self.enabled = enabled

    def load_history_strings(self) -> Iterable[str]:
        """Return the lines, newest first."""
        return reversed(self._lines()) if self.enabled else ()

    def append_string(self, string: str) -> None:
        """Keep a prompt, unless told not to."""
        if self.enabled and string.strip():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """Write the file anew with `string` at its end, so that a reader sees the old one or the new one."""
        lines = [*self._lines(), *(line for line in string.splitlines() if line.strip())][-LIMIT:]
        name = ""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".history", dir=self._path.parent)
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{line}\n" for line in lines)
            os.replace(name, self._path)
        except OSError:
            self.enabled = False  # a home that cannot be written is no reason to end a conversation
            if name:
                Path(name).unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.split("\n") if line.strip()][-LIMIT:]
