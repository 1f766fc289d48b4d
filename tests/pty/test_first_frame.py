"""The first frame comes once: over a slow line each is a second in which nobody sees anything."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.terminal import Terminal
from tests.waiting import block_until

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.fakes.stream_program", "50", "1"]
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "CORRAL_NOHISTORY": "1", "SSH_TTY": "/dev/pts/9"}
PROMPT = "Prompt to smollm2:135m"
OF_A_WHOLE_FRAME = b"F2-F6 screens"
"""What stands on the screen and never changes."""


def frames(terminal: Terminal) -> int:
    return bytes(terminal.raw).count(OF_A_WHOLE_FRAME)


def test_the_first_frame_is_sent_once_and_again_where_the_size_is_told_again() -> None:
    with Terminal(PROGRAM, ENVIRON, folder=ROOT) as terminal:
        terminal.wait_for(PROMPT)
        terminal.settle(1)
        assert frames(terminal) == 1
        terminal.process.send_signal(signal.SIGWINCH)
        block_until(lambda: frames(terminal) == 2)


def test_a_terminal_that_tells_its_size_by_itself_gets_one_frame_too() -> None:
    told = "\x1b[48;36;120;720;1200t"
    with Terminal(PROGRAM, ENVIRON, folder=ROOT) as terminal:
        terminal.wait_for(PROMPT)
        terminal.press("\x1b[?2048;2$y")
        block_until(lambda: b"\x1b[?2048h" in terminal.raw)
        terminal.press(told)
        terminal.settle(1)
        assert frames(terminal) == 1
        terminal.press(told)
        block_until(lambda: frames(terminal) == 2)
