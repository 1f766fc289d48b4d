"""What a stream costs the line between the workbench and its terminal."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.terminal import Terminal
from tests.waiting import block_until

ROOT = Path(__file__).parents[2]
BUDGET = 25_000
TOKENS_PER_S = 50
TOKENS = 700
LINES: dict[str, dict[str, str]] = {"local": {}, "remote": {"SSH_TTY": "/dev/pts/9"}}


def spent_by_a_stream(size: tuple[int, int], remote: dict[str, str]) -> float:
    """Bytes/s that come while an answer scrolls."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    environ = {**environ, **remote, "PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "CORRAL_NOHISTORY": "1"}
    program = [sys.executable, "-m", "tests.fakes.stream_program", str(TOKENS_PER_S), str(TOKENS)]
    with Terminal(program, environ, columns=size[0], lines=size[1], folder=ROOT) as terminal:
        terminal.wait_for("Prompt to smollm2:135m")
        terminal.press("go on")
        terminal.wait_for("go on")
        terminal.press("\r")
        terminal.wait_for("the gulls")
        block_until(lambda: "you" not in terminal.text().split("\n")[2][:8], 60)  # the view scrolls from here on
        began_s, before = time.monotonic(), len(terminal.raw)
        terminal.wait_for("tok/s · ttft", patience_s=60)
        return (len(terminal.raw) - before) / (time.monotonic() - began_s)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["120x36", "80x24"])
def test_a_stream_that_scrolls_stays_below_its_budget(size: tuple[int, int]) -> None:
    with ThreadPoolExecutor() as both:  # they wait for their words most of the time
        spent = dict(zip(LINES, both.map(partial(spent_by_a_stream, size), LINES.values()), strict=True))
    print(f"{size} {spent}")
    assert max(spent.values()) < BUDGET, spent
