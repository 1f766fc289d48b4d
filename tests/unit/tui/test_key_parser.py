"""Esc and what is pressed at once behind it."""

from __future__ import annotations

import pytest
from textual.events import Key

from corral.tui.key_parser import KeyParser, behind_escape, key_of
from tests.waiting import block_until


def pressed(*pieces: str) -> list[Key]:
    parser = KeyParser(False)
    found = [one for piece in pieces for one in parser.feed(piece)]

    def is_over() -> bool:
        found.extend(parser.tick())
        return not parser.is_waiting

    block_until(is_over)
    return [one for one in found if isinstance(one, Key)]


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("1", "alt+1"),
        ("j", "alt+j"),
        ("b", "alt+b"),
        ("J", "alt+shift+j"),
        ("é", "alt+é"),
        ("/", "alt+slash"),
        (" ", "alt+space"),
        ("=", "alt+equals_sign"),
        ("\r", "alt+enter"),
        ("\x0c", "alt+ctrl+l"),
        ("[", "alt+left_square_bracket"),
        ("O", "alt+shift+o"),
    ],
)
def test_a_character_at_once_behind_an_escape_is_one_key_that_tells_what_came(character: str, name: str) -> None:
    (key,) = pressed(f"\x1b{character}")
    assert (key.key, behind_escape(key), key.is_printable) == (name, character, False)
    (alone,) = pressed(character)
    assert (key_of(character).key, key_of(character).character) == (alone.key, alone.character)
    assert behind_escape(alone) == ""


def test_what_follows_waits_for_nothing() -> None:
    assert [one.key for one in pressed("\x1bjk\x1b", "\x1b:")] == ["alt+j", "k", "escape", "alt+colon"]


def test_what_a_mac_sends_and_longer_sequences_are_what_they_were() -> None:
    sent = {"∞": "infinity", "\x1b[15~": "f5", "5": "5", "\x1bOQ": "f2", "\x1b\x7f": "ctrl+w", "\x1b\t": "shift+tab"}
    assert [one.key for one in pressed(*sent, "\x1b[1;3A")] == [*sent.values(), "alt+up"]
