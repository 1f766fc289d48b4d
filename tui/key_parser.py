"""What a terminal sends for keys, where Textual takes it for something else."""

from __future__ import annotations

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.events import Key

__all__ = ["KeyParser"]

_ESCAPE = "\x1b"


class KeyParser(XTermParser):
    """Textual's parser, without the characters that Option makes of digits on a Mac's keyboard.

    A Mac sends those as characters. An escape with a digit behind it is Esc and that digit, pressed faster than they
    can be told from Alt, which has no meaning with digits here.
    """

    @property
    def is_waiting(self) -> bool:
        """Whether a sequence has begun that `tick` takes for keys if no more of it comes."""
        return self._timeout_time is not None

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[Key]:
        if len(sequence) == 2 and sequence[0] == _ESCAPE and sequence[1] in "0123456789":
            return (Key("escape", _ESCAPE), Key(sequence[1], sequence[1]))
        return super()._sequence_to_key_events(sequence, alt)
