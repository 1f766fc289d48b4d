"""Every text of every screen is hostile: the bytes that reach the terminal are ours alone, sequence by sequence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes.hostile import COMMANDS, MARKUP, OBEYED, WRITING
from tests.hostile_terminal import hostile_terminal
from tests.waiting import block_until

MODEL = "smollm2:135m"
F2, F3, F4, F5, F6 = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~"
ESCAPE, ENTER, QUIT, REDRAW = "\x1b", "\r", "\x11", "\x0c"

CLEAR = b"\x1b[r\x1b[2J"  # what drawing anew begins with
OURS = re.compile(
    r"""\x1b(?:
      \[[0-9;:]*m              # colours and styles
    | \[[0-9;]*[ABCDGHf]       # the cursor goes somewhere
    | \[[0-9]+[XLM]            # blanks; rows that are moved
    | \[(?:[0-9]+;[0-9]+)?r    # and which ones
    | \[6n                     # where the cursor is
    | \(B\x0f|\[4l             # before all is drawn anew
    | \[2[23];2t               # the title is put by, and back
    | \]2;[^\x00-\x1f\x7f-\x9f]*\x07  # a title
    | \[\?[0-9;]+[hl]          # modes: the other screen, the mouse, the cursor, pastes, whole frames
    | \[\?[0-9;]+\$p           # whether it knows a mode
    | \[[<>=?][0-9;]*u         # the keyboard's protocol
    | \]22;[a-z-]*(?:\x07|\x1b\\)  # the pointer's shape
    )""",
    re.VERBOSE,
)


def strangers(raw: bytes) -> list[str]:
    """What a terminal was sent that is neither a sequence of ours nor a character to be seen."""
    rest = OURS.sub("", raw.replace(CLEAR, b"").decode("utf-8"))
    return [ascii(rest[max(one.start() - 20, 0) : one.end() + 20]) for one in OBEYED.finditer(rest.replace("\r", ""))]


@pytest.mark.parametrize("attack", [*(one for one in COMMANDS if "red" not in one), "\u202e", "\u200b", "\0"])
def test_the_judge_sees_what_is_not_ours(attack: str) -> None:
    assert strangers(f"\x1b[1;31mred\x1b[0m{attack}\r\n".encode())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [(120, 36), (60, 16)], ids=["120x36", "60x16"])
def test_no_text_from_outside_commands_the_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    with hostile_terminal(tmp_path, columns=size[0], lines=size[1]) as terminal:
        look, close = terminal.look, terminal.close

        def whole() -> None:
            """No text was wider than it was taken for: the frames stand at the right edge still."""
            ends = set("│┃╮╯┓┛")
            block_until(lambda: all(line[-1:] in ends for line in terminal.text().split("\n")[1:-1]))

        def drawn(keys: str) -> None:
            """Press keys, one at a time as people do, each until all was drawn anew: some change nothing to be sent."""
            for key in keys:
                before = len(terminal.raw)
                terminal.press(f"{key}{REDRAW}")
                block_until(lambda before=before: len(terminal.raw) > before)  # type: ignore[misc]

        terminal.wait_for(f"Prompt to {MODEL}")
        said = "".join(one.replace("\x1b", "") for one in (*MARKUP, *WRITING)).encode("utf-8", "ignore").decode()
        terminal.press(f"\x1b[200~{said} asked\x1b[201~")
        terminal.wait_for("asked")
        look(ENTER, "tok/s · ttft")
        whole()
        look(ESCAPE, "write")
        drawn("og")
        whole()
        look("h", "search everything")
        close("search everything")
        look(F3, "[2")
        terminal.wait_for("Models 61")
        look("i", "Info") if size[0] < 120 else None
        drawn("]]]]]]jj")
        whole()
        look("p", "Pull a model")
        look("x", "not known")
        close("Pull a model")
        look(F4, "[3", "TOK/S")
        drawn("jjK")
        whole()
        look(F6, "[5", "Requests")
        look(ENTER, "C curl · y copy")
        close("C curl · y copy")
        whole()
        look(F3, "[2")
        look("e", "[4", "Modelfile")
        whole()
        look(F2, "[1")
        look("r", "r tries again")
        whole()
        look(QUIT, "Stop serving?")
        terminal.press("y")
        assert terminal.wait_exit() == 0
        assert b"Traceback" not in terminal.raw
        assert strangers(bytes(terminal.raw)) == []
        sent = bytes(terminal.raw).replace(CLEAR, b"")
        assert [one for one in COMMANDS if len(one) > 1 and one.encode() in sent] == []
