"""NO_COLOR (no-color.org): no colour reaches the terminal from any screen or dialog, nor from what lies behind one."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile_terminal import hostile_terminal
from tests.terminal import Terminal

MODEL = "smollm2:135m"
F1, F2, F3, F4, F5, F6 = "\x1bOP", "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
ESCAPE, ENTER, QUIT, DOWN = "\x1b", "\r", "\x11", "\x1b[B"
ASKS = (
    "from corral.tui.dialogs.port import PortProblem, ask_about_port;"
    "ask_about_port(PortProblem('127.0.0.1', 80, 'somebody', 81))"
)
"""What is asked before the workbench opens."""
STYLE = re.compile(rb"\x1b\[([0-9;:]*)m")


def colours(raw: bytes) -> Counter[str]:
    """The colours among the styles that a terminal was sent, by their numbers (ECMA-48, SGR).

    39 and 49 are none: they take the terminal's own back.
    """
    found: Counter[str] = Counter()
    for style in STYLE.findall(raw):
        for number in re.split("[;:]", style.decode()):
            if number and int(number) not in (39, 49) and (30 <= int(number) <= 49 or 90 <= int(number) <= 107):
                found[style.decode()] += 1
    return found


def walk(terminal: Terminal) -> None:
    """See every screen, and a dialog of each kind over one."""
    look, close = terminal.look, terminal.close
    terminal.wait_for(f"Prompt to {MODEL}")
    look("what\r", "tok/s · ttft")
    look(ESCAPE, "write")
    for key, title in (("h", "search everything"), ("O", "Options")):
        look(key, title)
        close(title)
    look(F3, "[2")
    dialogs = (
        ("p", "Pull a model"),
        (F1, "Keys"),
        ("d", "Delete"),
        ("c", "A second name"),
        ("H", "✗ could not connect"),
        (";", "a"),
    )
    for key, title in dialogs:
        look(key, title)
        terminal.settle(0.1)
        terminal.press(ESCAPE)
        terminal.settle(0.1)
    lines = (
        ("theme", "━ Theme"),
        ("settings", "━ Settings"),
        ("doctor", "━ Doctor"),
        ("keys", "━ Key report"),
        ("gc", "Remove orphans?"),
    )
    for line, title in lines:
        look(":", ":")
        look(f"{line}{ENTER}", title)
        terminal.settle(0.1)
        close(title)
    look(F4, "[3", "TOK/S")
    look(F5, "[4", "Modelfile")
    look('\x1b[200~FROM nothing at all\nPARAMETER top_k many\nSYSTEM """x\x1b[201~', "✗ ")
    look(F6, "[5", "Requests")
    look(ENTER, "C curl · y copy")
    close("C curl · y copy")
    look(QUIT, "Stop serving?")
    terminal.press("y")
    assert terminal.wait_exit() == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("value", "is_coloured"), [("1", False), ("", True)], ids=["asked for", "empty"])
def test_colours_are_left_out_everywhere_where_that_is_asked_for(tmp_path: Path, value: str, is_coloured: bool) -> None:
    config = tmp_path / "corral" / "config.toml"
    config.parent.mkdir()
    config.write_text('[hosts]\naway = "127.0.0.1:1"\n')
    with hostile_terminal(tmp_path, NO_COLOR=value) as terminal:
        walk(terminal)
        found = colours(bytes(terminal.raw))
    with Terminal([sys.executable, "-c", ASKS], {**os.environ, "NO_COLOR": value}) as terminal:
        terminal.look(DOWN, "127.0.0.1:80 is taken by somebody")
        terminal.press(ESCAPE)
        assert terminal.wait_exit() == 0
        found += (asked := colours(bytes(terminal.raw)))
    assert bool(asked) is is_coloured
    if is_coloured:
        assert any(style.startswith("38;2;") for style in found)
    else:
        assert not found
