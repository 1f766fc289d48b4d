"""Commands of the user's that a shell runs, in the workbench's own terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.terminal import Terminal

ROOT = Path(__file__).parents[2]
COMMANDS = """
[commands]
about = '''!echo; echo "it is <$MODEL> of <$MODELS>, told $1"; cat'''
wrong = "!exit 3"
"""
INTERRUPT, ENTER, F3 = "\x03", "\r", "\x1bOR"


@pytest.mark.timeout(60)
def test_a_shell_has_the_terminal_until_its_end_was_read(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(COMMANDS)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "XDG_", "CORRAL"))}
    environ |= {"PYTHONPATH": f"{ROOT}:{ROOT / '.src'}", "HOME": str(tmp_path), "CORRAL_CONFIG": str(config)}
    with Terminal([sys.executable, "-m", "tests.fakes.scripts_program"], environ, folder=ROOT) as terminal:
        terminal.wait_for("Prompt to smollm2:135m")
        terminal.look(F3, "[2 Models]")
        terminal.look(f"/smollm2:135m{ENTER} ", "✓ 1 marked")
        terminal.look(f":about this{ENTER}", "it is <smollm2:135m> of <smollm2:135m>, told this")
        terminal.look(INTERRUPT, ":about ended with 130 · Enter goes back")
        terminal.press(ENTER)
        terminal.wait_gone("goes back")
        terminal.look(f":wrong{ENTER}", ":wrong ended with 3 · Enter goes back")
        terminal.press(ENTER)
        terminal.wait_gone("goes back")
        terminal.look("5", "[5 Server]")
