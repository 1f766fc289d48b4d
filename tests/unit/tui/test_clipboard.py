from __future__ import annotations

import base64
from pathlib import Path

from corral.tui.clipboard import LONGEST_BYTES, keep, prepare


def test_text_is_sent_without_control_characters() -> None:
    copied = prepare("é\x1b]0;t\x07\n\tx\x9b", {})
    assert copied.sequence.startswith("\x1b]52;c;")
    assert copied.sequence.endswith("\x07")
    assert base64.b64decode(copied.sequence[7:-1]).decode() == "é]0;t\n\tx"
    assert copied.message == "Sent 9 bytes to the terminal, which does not say if it took them"


def test_tmux_gets_it_for_itself_and_wrapped_for_the_terminal() -> None:
    copied = prepare("x", {"TMUX": "/tmp/tmux,1,0"})
    assert copied.sequence == "\x1b]52;c;eA==\x07\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\"
    assert copied.message == "Sent 1 bytes through tmux: it needs set-clipboard or allow-passthrough on"


def test_screen_gets_it_wrapped() -> None:
    assert prepare("x", {"TERM": "screen-256color"}).sequence == "\x1bP\x1b]52;c;eA==\x07\x1b\\"


def test_what_terminals_would_drop_goes_to_a_file(tmp_path: Path) -> None:
    text = "é" * LONGEST_BYTES
    copied = prepare(text, {"XDG_CACHE_HOME": str(tmp_path)})
    assert copied.sequence == ""
    assert copied.file == tmp_path / "corral" / "clip.txt"
    assert str(copied.file) in keep(text, copied.file)
    assert copied.file.read_text("utf-8") == text
    assert copied.file.stat().st_mode & 0o077 == 0
    keep("short", copied.file)
    assert copied.file.read_text("utf-8") == "short"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert "cannot be written" in keep("x", tmp_path / "taken" / "clip.txt")
