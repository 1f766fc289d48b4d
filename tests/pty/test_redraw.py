"""What others write on the terminal goes away again, and what the terminal answers late is never typed."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.terminal import Terminal
from tests.waiting import block_until

ROOT = Path(__file__).parents[2]
PROMPT = "Prompt to smollm2:135m"
SCRIBBLE = "\x1b[1;1H#### mail has come ####\x1b[12;30H#### and more ####\x1b[5;9r\x1b[0;41m"
REDRAW, QUIT = "\x0c", "\x11"
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "CORRAL_NOHISTORY": "1", "SSH_TTY": "/dev/pts/9"}
PROGRAM = [sys.executable, "-m", "tests.fakes.stream_program", "50"]


class Hesitant(Terminal):
    """Answers in pieces, one every `pause_s`; keys wait behind them as they would on a line."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], cut: int, pause_s: float) -> None:
        self._line: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._cut, self._pause_s = cut, pause_s
        threading.Thread(target=self._send, daemon=True).start()
        super().__init__(argv, environ, folder=ROOT)

    def press(self, keys: str) -> None:
        self._line.put(keys)

    def _send(self) -> None:
        while True:
            text = self._line.get()
            try:
                if text.endswith("R"):
                    os.write(self._master, text[: self._cut].encode())
                    time.sleep(self._pause_s)
                    text = text[self._cut :]
                os.write(self._master, text.encode())
            except OSError:
                return


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal([*PROGRAM, "1"], ENVIRON, folder=ROOT) as terminal:
        terminal.wait_for(PROMPT)
        yield terminal


def stop_and_go_on(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGSTOP)
    terminal.process.send_signal(signal.SIGCONT)


WAYS: dict[str, Callable[[Terminal], None]] = {
    "the key": lambda terminal: terminal.press(REDRAW),
    "the same size told again": lambda terminal: terminal.process.send_signal(signal.SIGWINCH),
    "going on after a stop": stop_and_go_on,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_another_program_wrote_is_drawn_over(terminal: Terminal, way: str) -> None:
    terminal.settle()
    before = terminal.cells()
    terminal.scribble(SCRIBBLE)
    assert terminal.cells() != before
    WAYS[way](terminal)
    block_until(lambda: terminal.cells() == before)


@pytest.mark.parametrize(("cut", "pause_s"), [(1, 0.02), (2, 0.2), (4, 0.3), (5, 0.02)])
def test_answers_in_pieces_are_never_typed_here_nor_in_the_shell(tmp_path: Path, cut: int, pause_s: float) -> None:
    left = tmp_path / "left"
    then = f'"$@"; stty raw -echo; timeout 1.5 cat > {left}; true'
    with Hesitant(["sh", "-c", then, "sh", *PROGRAM, "200"], ENVIRON, cut, pause_s) as terminal:
        terminal.wait_for(PROMPT)
        terminal.press("go on")
        terminal.wait_for("go on")
        terminal.press("\r")
        terminal.wait_for("the gulls")
        terminal.press("typed")
        shown = terminal.wait_for("typed")
        assert "┃ typed " in shown, shown
        terminal.press(QUIT)
        assert terminal.wait_exit() == 0
        assert left.read_bytes() == b""


def test_a_terminal_that_never_answers_is_not_waited_for() -> None:
    class Silent(Terminal):
        def _answer(self, data: str) -> None:
            pass

    def leaving_s(kind: type[Terminal]) -> float:
        with kind([*PROGRAM, "1"], ENVIRON, folder=ROOT) as terminal:
            terminal.wait_for(PROMPT)
            began_s = time.monotonic()
            terminal.press(QUIT)
            block_until(lambda: b"\x1b[?1049l" in terminal.raw)
            took_s = time.monotonic() - began_s
            assert terminal.wait_exit() == 0
        return took_s

    # Others may have the processors while one of them is left; not three times.
    assert any(leaving_s(Silent) < leaving_s(Terminal) + 1.5 for _ in range(3))
