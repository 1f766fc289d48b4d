"""The workbench in tmux: what stands there after many small changes is what drawing all of it anew leaves there."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tmux import Tmux
from tests.waiting import block_until

ROOT = Path(__file__).parents[2]
F2, F3, F4, F5, F6 = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
ESCAPE, ENTER, REDRAW = "\x1b", "\r", "\x0c"
CLEARED = b"\x1b[2J"
OF_A_TOAST = "▌"
"""What goes by itself, after some seconds, would be missing from one of two looks."""
STILL_S, FIRST_S, REDRAWN_S = 0.4, 2.3, 0.2
"""How long nothing may come: after a key, where a screen is new and fed a second time, after drawing anew."""
NEW = ("the first frame", "Models", "Running", "in full", "Modelfile", "Server")
A_BLINK_S = 1.2
BLINKING = ("options", "pull", "help", "palette")
"""What is written in with a cursor that blinks."""
CHATTED = (
    *(("Chat", keys, shown) for keys, shown in (("漢字👍🏽 e\u0301", "漢字"), ("\x7f\x7fab", "ab"), ("שלום", "ab"))),
    ("an answer that scrolls", ENTER, "said 1."),
    ("another", f"more{ENTER}", "said 2."),
    ("back", f"{ESCAPE}", "⏎ write"),
    *(("scrolled", key, "⏎ write") for key in ("kkk", "g", "jj", "G")),
    ("options", "O", "Options"),
    ("closed", ESCAPE, "⏎ write"),
    ("Running", F4, "evict"),
    ("back to Chat", F2, "[1 Chat]"),
)
SIZES = ((80, 24), (61, 18), (140, 40))
LOOKED_THROUGH = (
    ("Models", F3, "[2 Models]"),
    *(("moved", key, "[2 Models]") for key in ("jjj", "jjjjjjjjjjjjjjjj", "kk")),
    ("pull", "p", "Pull a model"),
    ("closed", ESCAPE, "[2 Models]"),
    ("Running", F4, "evict"),
    ("in full", "ji", "[3 Running]"),
    ("help", "?", "Keys"),
    ("closed", ESCAPE, "[3 Running]"),
    ("back to Chat", F2, "[1 Chat]"),
)
WRITTEN = (
    ("Modelfile", F5, "[4 Modelfile]"),
    ("written", "SYSTEM 漢字 שלום 🇩🇪\r", "SYSTEM"),
    ("left", ESCAPE, "[4 Modelfile]"),
    ("Server", F6, "[5 Server]"),
    ("moved", "jjjjjjjjjjjj", "[5 Server]"),
    ("details", ENTER, "C curl"),
    ("closed", ESCAPE, "[5 Server]"),
    ("palette", "\x10", "Search"),
    ("closed", ESCAPE, "[5 Server]"),
    ("back to Chat", F2, "[1 Chat]"),
)


def looked_at(terminal: Tmux, step: str, still_s: float) -> list[set[str]]:
    """Every row once the screen stays as it is; where a cursor blinks, with it and without."""
    terminal.settle(still_s)
    while OF_A_TOAST in terminal.text():
        block_until(lambda: OF_A_TOAST not in terminal.text())
        terminal.settle(REDRAWN_S)
    seen, until_s = [terminal.cells()], time.monotonic() + A_BLINK_S
    while step in BLINKING and seen[-1] == seen[0] and time.monotonic() < until_s:
        seen.append(terminal.cells())
    return [set(rows) for rows in zip(*seen, strict=True)]


def is_as_wide(terminal: Tmux, columns: int) -> bool:
    """Whether the frame below the header ends where the window does."""
    row = terminal.text().split("\n")[1]
    return row.endswith(("┓", "╮")) and cell_len(row) == columns


def walk(folder: Path, steps: Sequence[tuple[str, str, str]], sizes: Sequence[tuple[int, int]]) -> None:
    """Start the workbench, take the steps, then make its window these sizes; judge after each."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "XDG_", "CORRAL"))}
    # Over SSH no cursor blinks, so that the cells stay as they are.
    environ |= {"SSH_TTY": "/dev/pts/9"}
    environ |= {"PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "HOME": str(folder), "CORRAL_NOHISTORY": "1"}
    folder.mkdir()
    with Tmux([sys.executable, "-m", "tests.fakes.scripts_program"], environ, folder) as terminal:

        def judge(step: str) -> None:
            before = looked_at(terminal, step, FIRST_S if step in NEW else STILL_S)
            cleared = terminal.raw.read_bytes().count(CLEARED)
            terminal.press(REDRAW)
            block_until(lambda: terminal.raw.read_bytes().count(CLEARED) > cleared)
            anew = looked_at(terminal, step, REDRAWN_S)
            wrong = [(y, was, now) for y, (was, now) in enumerate(zip(before, anew, strict=True)) if not was & now]
            assert wrong == [], f"after {step}: {wrong[:2]}"

        terminal.wait_for("Prompt to smollm2:135m")
        judge("the first frame")
        for step, keys, shown in steps:
            terminal.press(keys)
            terminal.wait_for(shown)
            judge(step)
        for columns, lines in sizes:
            terminal.resize(columns, lines)
            block_until(partial(is_as_wide, terminal, columns))
            judge(f"{columns} columns")


@pytest.mark.timeout(240)
def test_no_cell_stays_wrong_whatever_is_drawn_over_it(tmp_path: Path) -> None:
    walks = {"chat": (CHATTED, SIZES), "look": (LOOKED_THROUGH, ()), "write": (WRITTEN, ())}
    with ThreadPoolExecutor() as side_by_side:  # most of the time they wait for a screen to stay as it is
        done = [side_by_side.submit(walk, tmp_path / name, *way) for name, way in walks.items()]
    for one in done:
        one.result()
