"""What a terminal sends for keys, where Textual takes it for something else."""

from __future__ import annotations

from collections.abc import Iterable

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.keys import _character_to_key

__all__ = ["KeyParser", "behind_escape", "key_of"]

_ESCAPE = "\x1b"
_BEGINNINGS = frozenset("[O")
"""What stands behind the escape of longer sequences (ECMA-48, CSI and SS3)."""
_OWN = frozenset("\t\x7f\x1b")
"""What an escape before it makes a key of its own."""


def key_of(character: str) -> Key:
    """The key that types a character."""
    keys = ANSI_SEQUENCES_KEYS.get(character)
    return Key(keys[0].value if isinstance(keys, tuple) else _character_to_key(character), character)


def behind_escape(key: Key) -> str:
    """The character that came right behind an escape, where a key is that; "" where it is anything else."""
    sent = key.character or ""
    return sent[1] if len(sent) == 2 and sent[0] == _ESCAPE else ""


class KeyParser(XTermParser):
    """Textual's parser, without losing an escape that has a character at once behind it.

    Most terminals send the same for Alt and a key as for Esc and then that key, and where lines are slow both come in
    one packet. Which was meant is to be seen by what the keys do where they are pressed. So it becomes one key, named
    as Alt's, whose `character` is all that came. Textual forgets the escape of some, waits 0.1 s for others, and takes
    digits for the characters that Option makes of them on a Mac's keyboard, which a Mac sends itself.
    """

    @property
    def is_waiting(self) -> bool:
        """Whether a sequence has begun that `tick` takes for keys if no more of it comes."""
        return self._timeout_time is not None

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[Key]:
        came = _ESCAPE + sequence if alt else sequence
        if len(came) != 2 or came[0] != _ESCAPE or came[1] in _OWN:
            return super()._sequence_to_key_events(sequence, alt)
        if came[1] in _BEGINNINGS and not alt:
            return ()  # more may come
        name = key_of(came[1]).key
        is_upper = len(name) == 1 and name.isupper()
        return (Key(f"alt+shift+{name.lower()}" if is_upper else f"alt+{name}", came),)
