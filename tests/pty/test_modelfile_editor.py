"""The user's own editor in the workbench's terminal, while the API goes on answering."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import STARTER_MODEL
from tests.programs import CORRAL, environment, free_port
from tests.pty.test_workbench import ApiStream
from tests.terminal import Terminal
from tests.waiting import block_until

F5, F7 = "\x1b[15~", "\x1b[18~"

EDITOR = """
import pathlib, sys, time
here = pathlib.Path(__file__).parent
(here / "began").touch()
while not (here / "may end").exists():
    time.sleep(0.02)
with open(sys.argv[1], "a") as file:
    file.write("PARAMETER seed 4711\\n")
"""


@pytest.mark.timeout(300)
def test_the_api_answers_while_the_editor_has_the_terminal(own_store: Path, tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    script = tmp_path / "editor.py"
    script.write_text(EDITOR)
    environ = {
        **environment(own_store, port, home),
        "EDITOR": f"{sys.executable} {script}",
        "VISUAL": "",
        "XDG_STATE_HOME": str(home / "state"),
    }
    with Terminal([CORRAL], environ) as terminal:
        terminal.wait_for(f"Prompt to {STARTER_MODEL}")
        terminal.press(F5)
        terminal.wait_for("Modelfile", f"FROM {STARTER_MODEL}")
        stream = ApiStream(port)
        terminal.press(F7)
        block_until((tmp_path / "began").exists)
        before = stream.count
        block_until(lambda: stream.count > before + 50 or bool(stream.error), 60)
        stream.stop()
        assert not stream.error
        (tmp_path / "may end").touch()
        terminal.wait_for("PARAMETER seed 4711", "modified")
        block_until(lambda: "seed 4711" in _draft(home))


def _draft(home: Path) -> str:
    path = home / "state" / "corral" / "Modelfile.draft"
    return path.read_text() if path.exists() else ""
