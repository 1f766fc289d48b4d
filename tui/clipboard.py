"""Copying through the terminal (OSC 52), so that it works over SSH, where no other clipboard is the user's.

A terminal never says whether it took the text: what the user is told is what was tried.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LONGEST_BYTES", "Copied", "prepare"]

LONGEST_BYTES = 74_000
"""Bytes of text above which common terminals drop an OSC 52 sequence as a whole."""

_KEPT = {9, 10}
_CONTROLS = dict.fromkeys(code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _KEPT)


@dataclass(frozen=True, slots=True)
class Copied:
    """What goes to the terminal, and what to tell the user. `sequence` is empty where the text is too long."""

    sequence: str
    message: str


def prepare(text: str, environ: Mapping[str, str]) -> Copied:
    """Return the sequence that puts `text` into the clipboard: without control characters, wrapped for tmux, screen."""
    data = text.translate(_CONTROLS).encode("utf-8", "replace")
    if len(data) > LONGEST_BYTES:
        return Copied("", f"Not copied: {len(data):,} bytes are more than terminals take ({LONGEST_BYTES:,})")
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    where = "the terminal"
    if environ.get("TMUX"):
        sequence = "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        where = "the terminal through tmux (needs allow-passthrough)"
    elif environ.get("TERM", "").startswith("screen"):
        sequence = "\x1bP" + sequence + "\x1b\\"
        where = "the terminal through screen"
    return Copied(sequence, f"Sent {len(data):,} bytes to {where}")
