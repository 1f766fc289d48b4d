"""A real terminal for tests: a pty of a given size, what a program drew on it, and keys to press."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte
from wcwidth import wcwidth

from tests.waiting import PATIENCE_S, block_until

# pyte knows neither the keyboard protocol's sequences nor those with a private marker it has not met.
_UNKNOWN = re.compile(rb"\x1b\[[<>=?][0-9;]*[a-ln-zA-Z$]+|\x1b\[[0-9;?]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


def _without_size(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment but for a size that somebody exported: it would win over the pty's own."""
    return {name: value for name, value in environ.items() if name not in {"COLUMNS", "LINES"}}


class _Screen(pyte.Screen):
    """Says where its cursor is when it is asked, and takes marks of all scripts.

    pyte leaves off at those that Unicode gives no class of combining. It also fails over the half of a wide character
    that is left when the other half is drawn over.
    """

    def __init__(self, columns: int, lines: int, answer: Callable[[str], None]) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        """Send what the terminal says to the program."""
        self._answer(data)

    @property
    def display(self) -> list[str]:
        return ["".join(self.buffer[row][at].data for at in range(self.columns)) for row in range(self.lines)]

    def draw(self, data: str) -> None:
        super().draw("".join(one for one in data if unicodedata.combining(one) or wcwidth(one) != 0))


class Terminal:
    """Runs a program on a pty. A thread reads what it writes and answers where the program asks, as terminals do.

    `stall` makes that thread stop, as a terminal that is paused would.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 120,
        lines: int = 36,
        folder: Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen = _Screen(columns, lines, self._answer)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._reading = threading.Event()
        self._reading.set()
        self._over = threading.Event()
        self.raw = bytearray()
        self.read_s = self.started = time.monotonic()
        self.process = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**_without_size(environ), "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            close_fds=True,
        )
        os.close(slave)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def text(self) -> str:
        """What is on the screen now, line by line."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def cells(self) -> list[list[tuple[object, ...]]]:
        """What is to be seen in every cell."""
        with self._lock:
            screen = self._screen
            rows = [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]
        return [[(c.data, c.bg, c.reverse, c.data.isspace() or (c.fg, c.bold)) for c in row] for row in rows]

    def settle(self, still_s: float = 0.3) -> None:
        """Wait until nothing has come for a while."""
        seen, since_s = -1, time.monotonic()

        def is_still() -> bool:
            nonlocal seen, since_s
            if len(self.raw) != seen:
                seen, since_s = len(self.raw), time.monotonic()
            return time.monotonic() - since_s > still_s

        block_until(is_still)

    def scribble(self, text: str) -> None:
        """Write on the screen as another program would."""
        with self._lock:
            self._stream.feed(text.encode())

    def wait_for(self, *texts: str, patience_s: float = PATIENCE_S) -> str:
        """Wait until all of `texts` are on the screen; returns that screen. Whoever has ended is not waited for."""
        shown, has_all = "", False

        def is_over() -> bool:
            nonlocal shown, has_all
            is_read = not self._thread.is_alive()
            shown = self.text()
            has_all = all(text in shown for text in texts)
            return has_all or is_read

        with contextlib.suppress(TimeoutError):
            block_until(is_over, patience_s)
        if not has_all:
            raise AssertionError(f"{texts} not on the screen (exit status {self.process.poll()}):\n{shown}")
        return shown

    def look(self, keys: str, *seen: str) -> None:
        """Press keys and wait until all these texts are to be seen."""
        self.press(keys)
        self.wait_for(*seen)

    def close(self, title: str) -> None:
        """Press Escape and wait until a dialog's title is gone."""
        self.press("\x1b")
        self.wait_gone(title)

    def wait_gone(self, text: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until `text` is no longer on the screen."""
        try:
            block_until(lambda: text not in self.text(), patience_s)
        except TimeoutError:
            raise AssertionError(f"{text!r} still on the screen:\n{self.text()}") from None

    def press(self, keys: str) -> None:
        """Send keys as the terminal would."""
        os.write(self._master, keys.encode())

    def _answer(self, data: str) -> None:
        with contextlib.suppress(OSError):
            self.press(data)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size; the program is told as by any terminal."""
        with self._lock:
            self._screen.resize(lines, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def stall(self) -> None:
        """Stop reading: what the program writes piles up until its writes block."""
        self._reading.clear()

    def go_on(self) -> None:
        """Read again."""
        self._reading.set()

    def hang_up(self) -> None:
        """Take the terminal away, as a dropped connection does."""
        self._over.set()
        self._reading.set()
        self._thread.join(5)
        # Whoever still answers or presses a key must not meet what has this number next.
        master, self._master = self._master, -1
        with contextlib.suppress(OSError):
            os.close(master)

    def wait_exit(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for the program's end and for all that it wrote; returns its exit status."""
        status = self.process.wait(patience_s)
        block_until(self._has_read_all, patience_s)
        return status

    def _has_read_all(self) -> bool:
        if not self._reading.is_set() or not self._thread.is_alive():
            return True
        with self._lock:
            return not select.select([self._master], [], [], 0)[0]

    def end(self) -> None:
        """End the program, by force if it must be, and close the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        if not self._over.is_set():
            self.hang_up()

    def _read(self) -> None:
        while not self._over.is_set():
            self._reading.wait()
            try:
                ready, _, _ = select.select([self._master], [], [], 0.1)
            except (OSError, ValueError):  # we hung up
                return
            if not ready or not self._reading.is_set():
                continue
            read_s = time.monotonic()
            with self._lock:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # the program has ended
                    return
                if not data:
                    return
                self.read_s = read_s
                self.raw += data
                self._stream.feed(_UNKNOWN.sub(b"", data))
