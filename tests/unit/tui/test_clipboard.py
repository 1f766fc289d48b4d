from __future__ import annotations

import base64

from corral.tui.clipboard import LONGEST_BYTES, prepare


def test_text_is_sent_without_control_characters() -> None:
    copied = prepare("é\x1b]0;t\x07\n\tx\x9b", {})
    assert copied.sequence.startswith("\x1b]52;c;")
    assert copied.sequence.endswith("\x07")
    assert base64.b64decode(copied.sequence[7:-1]).decode() == "é]0;t\n\tx"
    assert copied.message == "Sent 9 bytes to the terminal"


def test_tmux_gets_it_wrapped() -> None:
    copied = prepare("x", {"TMUX": "/tmp/tmux,1,0"})
    assert copied.sequence == "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\"
    assert "tmux" in copied.message


def test_screen_gets_it_wrapped() -> None:
    assert prepare("x", {"TERM": "screen-256color"}).sequence == "\x1bP\x1b]52;c;eA==\x07\x1b\\"


def test_what_terminals_would_drop_is_refused_in_words() -> None:
    copied = prepare("x" * (LONGEST_BYTES + 1), {})
    assert copied.sequence == ""
    assert copied.message.startswith("Not copied: 74,001 bytes")
