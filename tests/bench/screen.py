"""What is felt at the screen: from a key to the frame that shows it, bytes a second, tokens a second beside it.

The engine is a fake that writes at a steady pace, so that the figures are the screen's and not the model's.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.workbench import opened, speed
from tests.conftest import STARTER_MODEL
from tests.programs import serving
from tests.terminal import Terminal
from tests.waiting import block_until

STREAMS = 8
MESSAGES = 200
KEYS = 200
LETTERS = "αβγδεζηθικλμνξοπρστυφχψωабвгдежзийклмнпрстуфцчшщъыьэюя"
"""Letters that stand nowhere else, so that one more of them is the key's own."""
SPEEDS = 12
PAUSE_S = 0.05
PER_S = 50
BYTES_S = 10.0
STALL_S = 8.0
STALLS = 5
F2, F3, F4, F5, F6 = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
SCREENS = (
    (F3, ("[2 Models]", "QUANT")),
    (F4, ("[3 Running]", "TOK/S")),
    (F5, ("[4 Modelfile]", "FROM")),
    (F6, ("[5 Server]", "METHOD")),
    (F2, ("[1 Chat]", "the gulls")),
)
"""Keys, and what stands on their screens: the tab, and something of the screen's own."""
ROUNDS = 4
SLOW_KEYS = 40
ROOT = Path(__file__).parents[2]


def screen_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Milliseconds from keys to frames, here and over a slow line; bytes to the terminal; what API clients get."""
    count = home / "widgets"
    with _talking(count, STREAMS, MESSAGES) as terminal:
        typed = _typing(terminal, KEYS)
        yield Figure(f"key to frame, typing, {STREAMS} streams: p99 of {KEYS}", (_p99(typed),), "ms", 50)
        yield Figure("the same: all", tuple(typed), "ms", 50)
        terminal.press("\x1b")
        terminal.wait_for("stopped")  # this one; the others stream on
        terminal.press("\x1b")
        terminal.wait_for("⏎ write")
        moved = [_until_it_moves(terminal, key) for key in (KEYS // 20) * "kkkkkkkkkkjjjjjjjjjj"]
        yield Figure("key to frame, moving in the chat: p99", (_p99(moved),), "ms", 50)
        first, *others = _changes(terminal, ROUNDS)
        yield Figure("key to frame, a screen's first time", tuple(first[:-1]), "ms", 150)
        yield Figure("key to frame, another screen", tuple(ms for one in others for ms in one), "ms", 60)
        yield Figure(f"widgets with a chat of {MESSAGES} messages", (float(count.read_text()),), "", 400)
    with _talking(count, 1, 0) as terminal:
        yield Figure("a stream of 50 tokens/s, to the terminal", (_kb_per_s(terminal),), "KB/s", 25)
    with _talking(count, 1, 0, line=("40", "12500")) as terminal:
        yield Figure("key to frame, typing, 80 ms and 100 kbit/s", tuple(_typing(terminal, SLOW_KEYS)), "ms", 300)
        others = _changes(terminal, 3)[1:]
        yield Figure("the same, another screen", tuple(ms for one in others for ms in one), "ms", 600)


def clients_figures(store: Path, home: Path) -> Iterator[Figure]:
    """What clients of the API get beside a screen: their speed with each of the five open, and one that is not read."""
    with opened(store, home) as (terminal, port), serving(store, home) as alone:
        speed(port), speed(alone)
        rounds = [_beside_each(terminal, port, alone, order) for order in _orders(SPEEDS)]
        for name in rounds[0]:
            yield Figure(
                f"tokens/s, {name} open : serve alone", tuple(one[name] for one in rounds), "x", 0.98, most=False
            )
        terminal.press(F4)
        terminal.wait_for("[3 Running]")
        time.sleep(3)  # what the last answer leaves to draw
        yield Figure("idle Running screen, to the terminal", (_kb_per_s(terminal),), "KB/s", 10)
        gaps = [_gaps(terminal, port, unread_first=bool(run % 2)) for run in range(STALLS)]
        read, unread = zip(*gaps, strict=True)
        note = "read: " + ", ".join(f"{gap:.0f}" for gap in read)
        bound = 2 * statistics.median(read)
        yield Figure(f"terminal not read for {STALL_S:g} s: worst gap", unread, "ms", bound, note=note)


def _orders(rounds: int) -> Iterator[list[int]]:
    """The places of SCREENS and two of the server alone, in another order each round: what came before tells."""
    drawn = random.Random(7)
    for _ in range(rounds):
        yield drawn.sample(range(len(SCREENS) + 2), len(SCREENS) + 2)


def _beside_each(terminal: Terminal, port: int, alone: int, order: Sequence[int]) -> dict[str, float]:
    """What a client gets beside each screen, against what it gets of a server alone in the same round."""
    beside, bare = {}, []
    for place in order:
        if place >= len(SCREENS):
            bare.append(speed(alone))
            continue
        key, (name, *_) = SCREENS[place]
        terminal.press(key)
        terminal.wait_for(name)
        beside[name] = speed(port)
    return {name: beside[name] / statistics.mean(bare) for _, (name, *_) in SCREENS}


def _gaps(terminal: Terminal, port: int, *, unread_first: bool) -> tuple[float, float]:
    """The worst gaps of a stream beside a terminal that is read, and one that is not."""
    found = {}
    for is_unread in (unread_first, not unread_first):
        if is_unread:
            terminal.stall()
        found[is_unread] = _worst_gap_ms(port)
        terminal.go_on()
        time.sleep(1)  # what was kept back is drawn
    return found[False], found[True]


def _worst_gap_ms(port: int) -> float:
    """The longest wait for a token within answers that follow one another; a model ends some of them soon."""
    body = {"model": STARTER_MODEL, "prompt": "Count: 1, 2,", "raw": True, "keep_alive": -1}
    body["options"] = {"num_predict": 4000, "temperature": 0.9}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/generate", json.dumps(body).encode())
    worst_s, ends_s = 0.0, time.perf_counter() + STALL_S
    while time.perf_counter() < ends_s:
        came = []
        with urllib.request.urlopen(request, timeout=60) as reply:
            for _ in reply:
                came.append(time.perf_counter())
                if came[-1] > ends_s:
                    break
        worst_s = max([worst_s, *(b - a for a, b in itertools.pairwise(came))])
    return 1000 * worst_s


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
        terminal.wait_for("┃ go on")
        terminal.press("\r")
        terminal.wait_gone("┃ go on")
        terminal.wait_for("the gulls")
        block_until(lambda: "you" not in terminal.text().split("\n")[2][:40], 60)
        yield terminal


def _typing(terminal: Terminal, keys: int) -> list[float]:
    """Milliseconds until each of some letters stands in the prompt, typed one after another."""
    return [_one_more_ms(terminal, letter) for letter in itertools.islice(itertools.cycle(LETTERS), keys)]


def _one_more_ms(terminal: Terminal, letter: str) -> float:
    time.sleep(PAUSE_S)  # not the pace of frames, so that keys fall anywhere between two
    before = terminal.text().count(letter)
    return _timed_ms(terminal, letter, lambda: terminal.text().count(letter) > before)


def _changes(terminal: Terminal, rounds: int) -> list[list[float]]:
    """Milliseconds to each of the screens, round by round."""
    return [[_took_ms(terminal, key, *shown) for key, shown in SCREENS] for _ in range(rounds)]


def _took_ms(terminal: Terminal, keys: str, *shown: str) -> float:
    time.sleep(5 * PAUSE_S)

    def stands() -> bool:
        text = terminal.text()
        return all(one in text for one in shown)

    return _timed_ms(terminal, keys, stands)


def _until_it_moves(terminal: Terminal, key: str) -> float:
    """Nothing but a key moves the words of a chat that does not stream."""
    time.sleep(PAUSE_S)
    before = _words(terminal)
    return _timed_ms(terminal, key, lambda: _words(terminal) != before)


def _words(terminal: Terminal) -> list[str]:
    return [line[40:] for line in terminal.text().split("\n")[2:28]]


def _timed_ms(terminal: Terminal, keys: str, seen: Callable[[], bool]) -> float:
    """Until the bytes were read that make `seen` true."""
    looked_at = len(terminal.raw)
    began_s = time.monotonic()
    terminal.press(keys)
    while True:
        if len(terminal.raw) != looked_at:
            looked_at, read_s = len(terminal.raw), terminal.read_s
            if seen():
                return 1000 * (read_s - began_s)
        assert time.monotonic() - began_s < 30, terminal.text()
        time.sleep(0.001)


def _p99(values: list[float]) -> float:
    return sorted(values)[max(int(len(values) * 0.99) - 1, 0)]


def _kb_per_s(terminal: Terminal) -> float:
    before, began_s = len(terminal.raw), time.monotonic()
    time.sleep(BYTES_S)
    return (len(terminal.raw) - before) / (time.monotonic() - began_s) / 1000
