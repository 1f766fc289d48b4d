"""A terminal that is not ours for tests: tmux, whose cells can be read with their colours."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.waiting import block_until

_BLINK_BYTES = 150
_RESTING = 0.1
"""The part of a processor that a program takes at most while it only waits."""


class Tmux:
    """Runs a program in a pane of a server of its own."""

    def __init__(
        self, argv: Sequence[str], environ: Mapping[str, str], folder: Path, columns: int = 120, lines: int = 36
    ) -> None:
        self._socket = folder / "tmux"
        self.raw = folder / "raw"
        self._environ = {**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        for name in ("TMUX", "COLUMNS", "LINES"):
            self._environ.pop(name, None)
        gate = folder / "begin"
        os.mkfifo(gate)
        waits = ["sh", "-c", 'cat "$0"; exec "$@"', str(gate), *argv]
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(lines), *waits)
        self._tmux("set", "-g", "status", "off")
        self._tmux("pipe-pane", f"cat >> {self.raw}")
        self._program = psutil.Process(int(self._tmux("display-message", "-p", "#{pane_pid}")))
        gate.write_text("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server", check=False)

    def cells(self) -> list[str]:
        """What stands in the pane, row by row, with its colours."""
        return self._tmux("capture-pane", "-e", "-p", "-N").split("\n")

    def text(self) -> str:
        """What stands in the pane, without colours."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, *texts: str) -> None:
        """Wait until all of `texts` are in the pane."""
        try:
            block_until(lambda: all(text in (shown := self.text()) and bool(shown) for text in texts))
        except TimeoutError:
            raise AssertionError(f"{texts} not in the pane:\n{self.text()}") from None

    def settle(self, still_s: float) -> None:
        """Wait until nothing but a cursor's blinking has come for a while in which the program had nothing to do.

        One that computes may have more to say, however long it takes where others have the processors.
        """
        seen, worked_s, since_s = 0, 0.0, time.monotonic()

        def is_still() -> bool:
            nonlocal seen, worked_s, since_s
            size, now_worked_s = self.raw.stat().st_size, self._worked_s()
            if size > seen + _BLINK_BYTES or now_worked_s > worked_s + _RESTING * still_s:
                seen, worked_s, since_s = size, now_worked_s, time.monotonic()
            return time.monotonic() - since_s > still_s and not self._has_work()

        block_until(is_still)

    def _worked_s(self) -> float:
        """Seconds the program has had of processors."""
        times = self._program.cpu_times()
        return times.user + times.system

    def _has_work(self) -> bool:
        """Whether one of its threads computes or waits for a processor, where the system tells (proc(5), `stat`)."""
        threads = Path(f"/proc/{self._program.pid}/task").glob("*/stat")
        with contextlib.suppress(FileNotFoundError):  # one that ends meanwhile
            return any(thread.read_text().rpartition(")")[2].split()[0] == "R" for thread in threads)
        return True

    def press(self, keys: str) -> None:
        """Send bytes as keys of the keyboard do."""
        self._tmux("send-keys", "-H", *(f"{byte:x}" for byte in keys.encode()))

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def _tmux(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *words],
            env=self._environ,
            check=check,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout
