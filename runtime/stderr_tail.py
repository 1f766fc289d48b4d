"""What a child process writes to its standard error: the last lines, and each told on as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

KEPT_LINES = 40
_LONGEST = 4096


class StderrTail:
    """The last lines of a stream, empty ones left out. `on_line` is given each one."""

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.on_line = on_line

    @property
    def last(self) -> str:
        """The newest line, "" where there is none."""
        return self._lines[-1][:400] if self._lines else ""

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Follow a stream to its end."""
        rest = b""
        while data := await stream.read(16384):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_LONGEST:]
            for line in lines:
                self._take(line)
        self._take(rest)

    def _take(self, line: bytes) -> None:
        if text := line.decode(errors="replace").strip():
            self._lines.append(text)
            self.on_line(text)
