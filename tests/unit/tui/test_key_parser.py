"""Esc and what is pressed at once behind it."""

from __future__ import annotations

import pytest
from textual.events import Key

from corral.tui.key_parser import KeyParser


def keys(*pieces: str) -> list[tuple[str, str | None]]:
    parser = KeyParser(False)
    messages = [message for piece in pieces for message in parser.feed(piece)]
    return [(one.key, one.character) for one in messages if isinstance(one, Key)]


@pytest.mark.parametrize("digit", "0123456789")
def test_a_digit_behind_esc_is_that_digit(digit: str) -> None:
    assert keys(f"\x1b{digit}") == keys("\x1b", digit) == [("escape", "\x1b"), (digit, digit)]


def test_what_a_mac_sends_and_longer_sequences_are_what_they_were() -> None:
    assert keys("∞") == [("infinity", "∞")]
    assert keys("\x1b[15~", "5", "\x1bOQ") == [("f5", None), ("5", "5"), ("f2", None)]
