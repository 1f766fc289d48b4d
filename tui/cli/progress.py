"""What a long job shows on stderr: bars and spinners on a terminal, plain lines anywhere else (spec d.2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable
from typing import TextIO

from corral.store.progress import Progress
from corral.tui.cli.human import human_bytes
from corral.tui.cli.table import cells, char_cells
from corral.tui.control_chars import one_line

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1
_HIDE_CURSOR, _SHOW_CURSOR, _TO_END_OF_LINE = "\x1b[?25l", "\x1b[?25h", "\x1b[K"
_MAX_LINES = 200
_LEAST_BAR = 8


def terminal_width(stream: TextIO) -> int:
    """Columns of the terminal behind `stream`, 80 where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


class Bar:
    """One transfer: how much of how much, how fast, how long still."""

    def __init__(self, message: str, total: int, completed: int, now_s: float) -> None:
        self._message = message
        self._total = total
        self._first = completed
        self._completed = completed
        self._started_s = now_s

    @property
    def done(self) -> bool:
        """Whether all of it is here."""
        return self._completed >= self._total

    def set(self, completed: int) -> None:
        """Note how much is here."""
        self._completed = min(completed, self._total)

    def line(self, width: int, now_s: float) -> str:
        """Draw into `width` columns."""
        fraction = self._completed / self._total if self._total else 1.0
        share = f" {fraction * 100:3.0f}%"
        after = self._figures(now_s)
        rest = width - len(share) - len(after) - 5
        message = self._message
        if cells(message) + _LEAST_BAR > rest:
            message = _cut(message, max(rest - _LEAST_BAR - 2, 0)) + "…:"
        room = max(rest - cells(message), 0)
        filled = int(room * fraction)
        return _cut(f"{message}{share} ▕{'█' * filled}{' ' * (room - filled)}▏ {after}", width - 1)

    def _figures(self, now_s: float) -> str:
        total = human_bytes(self._total)
        if self.done:
            return f"{total:>6}{'':25}"
        elapsed_s = now_s - self._started_s
        rate = (self._completed - self._first) / elapsed_s if elapsed_s > 0 else 0.0
        text = f"{human_bytes(self._completed):>6}/{total:>6}"
        if rate <= 0:
            return f"{text}{'':18}"
        return f"{text}  {human_bytes(int(rate)):>6}/s  {_remaining((self._total - self._completed) / rate):>6}"


def _remaining(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 360_000:
        return "99h+"
    if whole >= 3600:
        return f"{whole // 3600}h{whole // 60 % 60}m"
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"


class Spinner:
    """A status without a size. Once `done` it keeps its text without the moving sign."""

    def __init__(self, message: str, now_s: float) -> None:
        self._message = message
        self._started_s = now_s
        self.done = False

    def line(self, width: int, now_s: float) -> str:
        """Draw into `width` columns."""
        frame = "" if self.done else FRAMES[int((now_s - self._started_s) / _FRAME_S) % len(FRAMES)] + " "
        return _cut(f"{self._message} {frame}".lstrip(" "), width - 1)


def _cut(text: str, width: int) -> str:
    """As much of `text` as fits: a line that wraps is two, and the next drawing would begin on the wrong one."""
    if cells(text) <= width:
        return text
    used, kept = 0, 0
    for char in text:
        used += char_cells(char)
        if used > width:
            break
        kept += 1
    return text[:kept]


class Display:
    """The lines of one job, redrawn in place ten times a second. Lives on the loop of the job."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._tty = stream.isatty()
        self._lines: list[Bar | Spinner] = []
        self._bars: dict[str, Bar] = {}
        self._status: str | None = None
        self._drawn = 0

    def show(self, progress: Progress) -> None:
        """Take the newest state of the job."""
        status = one_line(progress.status)
        if progress.digest and progress.total > 0:
            self._show_bar(progress, status)
        elif status != self._status:
            self._status = status
            self._add(Spinner(status, self._clock()), status)

    def _show_bar(self, progress: Progress, status: str) -> None:
        bar = self._bars.get(progress.digest)
        if bar is None:
            bar = Bar(f"{status}:", progress.total, progress.completed, self._clock())
            self._bars[progress.digest] = bar
            self._add(bar, f"{status}: {human_bytes(progress.total)}")
        bar.set(progress.completed)

    def _add(self, line: Bar | Spinner, text: str) -> None:
        self._finish_spinner()
        if self._tty and len(self._lines) < _MAX_LINES:
            self._lines.append(line)
        elif text and not self._tty:
            print(text, file=self._stream, flush=True)

    def _finish_spinner(self) -> None:
        if self._lines and isinstance(self._lines[-1], Spinner):
            self._lines[-1].done = True

    def draw(self) -> None:
        """Put the lines on the terminal, over those drawn before."""
        if not self._tty or not self._lines:
            return
        width, now_s = terminal_width(self._stream), self._clock()
        up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        body = "\n".join(f"\r{line.line(width, now_s)}{_TO_END_OF_LINE}" for line in self._lines)
        self._stream.write(_HIDE_CURSOR + up + body)
        self._stream.flush()
        self._drawn = len(self._lines)

    def stop(self) -> None:
        """Draw the last state and leave the cursor below it."""
        self._finish_spinner()
        self.draw()
        if self._drawn:
            self._stream.write(f"\n{_SHOW_CURSOR}")
            self._stream.flush()
        self._drawn, self._lines = 0, []

    def clear(self) -> None:
        """Wipe everything drawn, as if it had never been there."""
        if self._drawn:
            self._stream.write("\r" + f"{_TO_END_OF_LINE}\x1b[1A" * (self._drawn - 1) + _TO_END_OF_LINE + _SHOW_CURSOR)
            self._stream.flush()
        self._drawn, self._lines = 0, []


@contextlib.asynccontextmanager
async def ticking(display: Display) -> AsyncGenerator[None, None]:
    """Keep a display moving while the body runs."""

    async def tick() -> None:
        while True:
            display.draw()
            await asyncio.sleep(_FRAME_S)

    task = asyncio.get_running_loop().create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def follow(steps: AsyncGenerator[Progress, None], stream: TextIO) -> None:
    """Show a job from its first step to its last; what was shown stays."""
    display = Display(stream)
    try:
        async with contextlib.aclosing(steps), ticking(display):
            async for step in steps:
                display.show(step)
    finally:
        display.stop()


@contextlib.asynccontextmanager
async def waiting(stream: TextIO) -> AsyncGenerator[Display, None]:
    """Show a spinner until the body clears the display or ends."""
    display = Display(stream)
    if stream.isatty():
        display.show(Progress(""))
    try:
        async with ticking(display):
            yield display
    finally:
        display.clear()
