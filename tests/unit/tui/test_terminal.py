"""The workbench on a real pseudo-terminal that is left, closed or told to stop."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are Unix's")
PROGRAM = """
import asyncio, sys, threading
from corral.tui.app import WorkbenchApp
from corral.tui.link import ServiceLink
from corral.tui.terminal import run_workbench
from tests.fakes.client import FakeClient

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
client = FakeClient.with_models("smollm2:135m")
client.words = ["[/x] \\x1b]52;c;aGk=\\x07 \\x1b[2J\\x1b]0;title\\x07 \\x9b5A ", "the end"]
reason = run_workbench(WorkbenchApp(ServiceLink(client, loop)), mouse="no-mouse" not in sys.argv)
print("ends up nowhere after a hang-up")
with open(sys.argv[1], "w") as file:
    file.write(reason)
"""
ROOT = Path(__file__).parents[3]
READY = b"to smollm2:135m"
"""Of the prompt's title: its first word may have been drawn before the models were known, and is not sent again."""


class Terminal:
    """A child whose controlling terminal is ours to read or to close."""

    def __init__(self, result: Path, *flags: str) -> None:
        self.result = result
        self.seen = b""
        self.descriptor, inner = os.openpty()
        environ = os.environ | {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "COLUMNS": "100",
            "LINES": "30",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / ".src"))),
            "CORRAL_NOHISTORY": "1",
        }
        self.child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(result), *flags],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environ,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # takes it as the controlling terminal
        )
        os.close(inner)

    def read_until(self, wanted: bytes, within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while wanted not in self.seen:
            assert time.monotonic() < deadline, re.sub(rb"\x1b\[[0-9;]*[mH]", b"", self.seen)[-3000:]
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self.seen += os.read(self.descriptor, 65536)

    def write(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def reason(self, within_s: float = PATIENCE_S) -> str:
        deadline = time.monotonic() + within_s
        while self.child.poll() is None:
            assert time.monotonic() < deadline
            if not self.result.exists():
                self.drain()
        return self.result.read_text()

    def drain(self) -> None:
        try:
            if select.select([self.descriptor], [], [], 0.05)[0]:
                self.seen += os.read(self.descriptor, 65536)
        except OSError:
            pass  # closed by the test, or by the child's end

    def close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = os.open(os.devnull, os.O_RDWR)


@pytest.fixture
def flags() -> tuple[str, ...]:
    return ()


@pytest.fixture
def terminal(tmp_path: Path, flags: tuple[str, ...]) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "reason", *flags)
    yield terminal
    terminal.child.kill()
    terminal.child.wait()
    os.close(terminal.descriptor)


def test_a_closed_terminal_leaves_the_process_to_its_caller(terminal: Terminal) -> None:
    terminal.read_until(b"smollm2:135m")
    terminal.close()
    assert terminal.reason() == "hangup"


def test_quitting_restores_the_terminal(terminal: Terminal) -> None:
    terminal.read_until(READY)
    terminal.write(b"\x11")
    assert terminal.reason() == "quit"
    terminal.read_until(b"\x1b[?1049l")


def test_sigterm_restores_the_terminal_and_sigtstp_does_nothing(terminal: Terminal) -> None:
    terminal.read_until(READY)
    terminal.child.send_signal(signal.SIGTSTP)
    terminal.write(b"hello")
    terminal.read_until(b"hello")
    terminal.child.send_signal(signal.SIGTERM)
    assert terminal.reason() == "quit"
    terminal.read_until(b"\x1b[?1049l")


def test_no_escape_of_a_model_reaches_the_terminal(terminal: Terminal) -> None:
    terminal.read_until(READY)
    terminal.write(b"hi\r")  # in one packet: Enter must not overtake the letters
    terminal.read_until(b"the end")
    for attack in (b"\x1b]52", b"\x1b[2J\x1b]0", b"\x1b]0;", b"\xc2\x9b", b"aGk=\x07"):
        assert attack not in terminal.seen
    assert "␛]52;c;aGk=␇".encode() in terminal.seen


@pytest.mark.parametrize("flags", [("no-mouse",)])
def test_a_mouse_that_was_left_to_the_terminal_is_taken_by_its_key_and_given_back(terminal: Terminal) -> None:
    terminal.read_until(READY)
    terminal.write(b"\x1b")
    terminal.read_until(b"write")
    assert b"\x1b[?1003h" not in terminal.seen
    terminal.write(b"M")
    terminal.read_until(b"\x1b[?1003h")
    assert b"\x1b[?1003l" not in terminal.seen
    terminal.write(b"M")
    terminal.read_until(b"\x1b[?1003l")
