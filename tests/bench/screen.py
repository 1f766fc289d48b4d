"""What is felt at the screen: from a key to the frame that shows it, bytes a second, tokens a second beside it.

The engine is a fake that writes at a steady pace, so that the figures are the screen's and not the model's.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.workbench import opened, speed
from tests.conftest import STARTER_MODEL
from tests.terminal import Terminal
from tests.waiting import block_until

STREAMS = 8
MESSAGES = 200
TYPED = "what a key costs is felt by everybody who types here"
PER_S = 50
BYTES_S = 10.0
STALL_S = 8.0
F2, F3, F4, F5, F6 = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
SCREENS = ((F3, "[2 Models]"), (F4, "[3 Running]"), (F5, "[4 Modelfile]"), (F6, "[5 Server]"), (F2, "[1 Chat]"))
ROOT = Path(__file__).parents[2]


def screen_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Milliseconds from keys to frames, here and over a slow line; bytes to the terminal; what API clients get."""
    count = home / "widgets"
    with _talking(count, STREAMS, MESSAGES) as terminal:
        yield Figure(f"key to frame, typing, {STREAMS} streams: p99", (_p99(_typing(terminal)),), "ms", 50)
        terminal.press("\x1b")
        terminal.wait_for("stopped")  # this one; the others stream on
        terminal.press("\x1b")
        terminal.wait_for("⏎ write")
        scrolls = [_until_it_moves(terminal, key) for key in "kkkkjjkkkkjjkkjj"]
        yield Figure("key to frame, moving in the chat: p99", (_p99(scrolls),), "ms", 50)
        changes = [[_took_ms(terminal, key, name) for key, name in SCREENS] for _ in range(4)]
        yield Figure("key to frame, another screen: p99", (_p99([ms for one in changes[1:] for ms in one]),), "ms", 100)
        yield Figure(f"widgets with a chat of {MESSAGES} messages", (float(count.read_text()),), "", 400)
    with _talking(count, 1, 0) as terminal:
        yield Figure("a stream of 50 tokens/s, to the terminal", (_kb_per_s(terminal),), "KB/s", 25)
    with _talking(count, 1, 0, line=("40", "12500")) as terminal:
        yield Figure("key to frame, typing, 80 ms and 100 kbit/s", tuple(_typing(terminal)), "ms", 300)
        _took_ms(terminal, F3, "[2 Models]"), _took_ms(terminal, F2, "[1 Chat]")
        changes = [[_took_ms(terminal, key, name) for key, name in SCREENS] for _ in range(3)]
        yield Figure("the same, another screen", tuple(ms for one in changes[1:] for ms in one), "ms", 600)
    yield from _beside_clients(store, home)


def _beside_clients(store: Path, home: Path) -> Iterator[Figure]:
    with opened(store, home) as (terminal, port), opened(store, home) as (still, other):
        speed(port), speed(other)
        still.press(F4)
        terminal.press(F4)
        terminal.wait_for("[3 Running]")
        time.sleep(3)  # what the last answer leaves to draw
        yield Figure("idle Running screen, to the terminal", (_kb_per_s(terminal),), "KB/s", 10)
        gaps_before = _worst_gap_ms(other)
        still.stall()
        gaps = _worst_gap_ms(other)
        still.go_on()
        yield Figure("terminal not read for 8 s: worst gap, before too", (gaps,), "ms", 2 * gaps_before)


def _worst_gap_ms(port: int) -> float:
    body = {"model": STARTER_MODEL, "prompt": "Count: 1, 2,", "raw": True, "keep_alive": -1}
    body["options"] = {"num_predict": 4000, "temperature": 0.9}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/generate", json.dumps(body).encode())
    came = []
    with urllib.request.urlopen(request, timeout=60) as reply:
        for _ in reply:
            came.append(time.perf_counter())
            if came[-1] - came[0] > STALL_S:
                break
    return 1000 * max(b - a for a, b in itertools.pairwise(came))


@contextlib.contextmanager
def _talking(count: Path, streams: int, messages: int, line: tuple[str, str] | None = None) -> Iterator[Terminal]:
    """The workbench over a fake engine, on a chat that streams and scrolls."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    environ |= {"PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "CORRAL_NOHISTORY": "1"}
    if line is not None:
        environ["SSH_TTY"] = "/dev/pts/9"
    program = [sys.executable, "-m", "tests.fakes.stream_program", str(PER_S if streams == 1 else 20), "100000"]
    program += [str(streams), str(messages), str(count)]
    slow = [sys.executable, "-m", "tests.slow_line", *line] if line is not None else []
    with Terminal([*slow, *program], environ, folder=ROOT) as terminal:
        terminal.wait_for("Prompt to smollm2:135m")
        terminal.press("go on")
        terminal.wait_for("go on")
        terminal.press("\r")
        terminal.wait_gone("┃ go on")
        terminal.wait_for("the gulls")
        block_until(lambda: "you" not in terminal.text().split("\n")[2][:40], 60)
        yield terminal


def _typing(terminal: Terminal) -> list[float]:
    """Milliseconds until each of some letters stands in the prompt, typed one after another."""
    typed, times = "", []
    for letter in TYPED:
        typed += letter
        times.append(_took_ms(terminal, letter, typed.rstrip() if letter != " " else ""))
        time.sleep(0.11)  # so that keys fall anywhere between two frames
    return [one for one, letter in zip(times, TYPED, strict=True) if letter != " "]


def _took_ms(terminal: Terminal, keys: str, shown: str) -> float:
    return _timed_ms(terminal, keys, lambda: shown in terminal.text())


def _until_it_moves(terminal: Terminal, key: str) -> float:
    time.sleep(0.15)
    before = terminal.text()
    return _timed_ms(terminal, key, lambda: terminal.text() != before)


def _timed_ms(terminal: Terminal, keys: str, seen: Callable[[], bool]) -> float:
    began_s = time.perf_counter()
    terminal.press(keys)
    while not seen():
        assert time.perf_counter() - began_s < 30, terminal.text()
        time.sleep(0.001)
    return 1000 * (time.perf_counter() - began_s)


def _p99(values: list[float]) -> float:
    return sorted(values)[max(int(len(values) * 0.99) - 1, 0)]


def _kb_per_s(terminal: Terminal) -> float:
    before, began_s = len(terminal.raw), time.monotonic()
    time.sleep(BYTES_S)
    return (len(terminal.raw) - before) / (time.monotonic() - began_s) / 1000
