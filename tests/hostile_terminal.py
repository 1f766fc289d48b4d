"""The workbench on a client all of whose texts are hostile, in a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.terminal import Terminal

_ROOT = Path(__file__).parents[1]


def hostile_terminal(home: Path, *, columns: int = 120, lines: int = 36, **variables: str) -> Terminal:
    """Start it with nothing of the terminal that runs the tests; `variables` are set besides."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "XDG_", "TMUX"))}
    environ |= {"PYTHONPATH": f"{_ROOT}:{_ROOT / '.src'}", "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    program = [sys.executable, "-m", "tests.fakes.hostile_program"]
    return Terminal(program, environ | variables, columns=columns, lines=lines, folder=_ROOT)
