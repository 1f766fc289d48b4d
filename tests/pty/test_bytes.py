"""What a stream costs the line between the workbench and its terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.terminal import Terminal
from tests.waiting import block_until

ROOT = Path(__file__).parents[2]
BUDGET = 25_000
TOKENS_PER_S = 50
TOKENS = 1000


@pytest.mark.timeout(120)
@pytest.mark.parametrize("remote", [{}, {"SSH_TTY": "/dev/pts/9"}], ids=["local", "remote"])
@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["120x36", "80x24"])
def test_a_stream_that_scrolls_stays_below_its_budget(remote: dict[str, str], size: tuple[int, int]) -> None:
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
        spent = (len(terminal.raw) - before) / (time.monotonic() - began_s)
        print(f"{size} {remote} {spent / 1000:.1f} KB/s")
        assert spent < BUDGET, f"{spent / 1000:.1f} KB/s"
