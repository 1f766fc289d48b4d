"""Copying through the terminal (OSC 52), so that it works over SSH, where no other clipboard is the user's.

A terminal never says whether it took the text: what the user is told is what was tried. What is too long for one goes
to a file instead.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["LONGEST_BYTES", "Copied", "keep", "prepare", "through_multiplexer"]

LONGEST_BYTES = 74_000
"""Bytes of text above which common terminals drop an OSC 52 sequence as a whole."""

_KEPT = {9, 10}
_CONTROLS = dict.fromkeys(code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _KEPT)


class Copied(msgspec.Struct, frozen=True):
    """What goes to the terminal, and what to tell the user. Where that is too long, `file` says what goes there."""

    sequence: str
    message: str
    file: Path | None = None


def _file(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path(environ.get("HOME") or Path.home()) / ".cache") / "corral" / "clip.txt"


def keep(text: str, file: Path) -> str:
    """Write a text that no terminal takes where the user alone can read it; returns what to tell."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        return f"Not copied: too long for a terminal, and {file} cannot be written: {error.strerror}"
    return f"Too long for a terminal's clipboard ({LONGEST_BYTES:,} bytes): written to {file}"


def through_multiplexer(sequence: str, environ: Mapping[str, str]) -> str:
    """Wrap an escape sequence so that tmux or screen hands it on to the terminal outside."""
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return "\x1bP" + sequence + "\x1b\\"
    return sequence


def prepare(text: str, environ: Mapping[str, str]) -> Copied:
    """Return the sequence that puts `text` into the clipboard: without control characters, wrapped for tmux, screen."""
    data = text.translate(_CONTROLS).encode("utf-8", "replace")
    if len(data) > LONGEST_BYTES:
        return Copied("", f"Not copied: {len(data):,} bytes are more than terminals take", _file(environ))
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    sequence = through_multiplexer(plain, environ)
    where = "the terminal"
    if environ.get("TMUX"):
        # tmux itself takes the plain one with set-clipboard, and hands the wrapped one on with allow-passthrough
        told = f"Sent {len(data):,} bytes through tmux: it needs set-clipboard or allow-passthrough on"
        return Copied(plain + sequence, told)
    if environ.get("TERM", "").startswith("screen"):
        where = "the terminal through screen"
    return Copied(sequence, f"Sent {len(data):,} bytes to {where}, which does not say if it took them")
