"""Which characters graphs and bars are drawn with, down to plain ASCII where a terminal has nothing better."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum


class Glyphs(StrEnum):
    """A set of characters, finest first."""

    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"

    @property
    def following(self) -> Glyphs:
        """The next set, round and round."""
        every = list(Glyphs)
        return every[(every.index(self) + 1) % len(every)]

    @property
    def filled(self) -> str:
        """The full part of a bar."""
        return "#" if self is Glyphs.ASCII else "█"

    @property
    def empty(self) -> str:
        """The rest of a bar."""
        return "." if self is Glyphs.ASCII else "░"


def automatic_glyphs(encoding: str | None, term: str) -> Glyphs:
    """The finest set a terminal of this encoding and `TERM` shows; Linux's console font has no braille."""
    if (encoding or "").lower().replace("-", "").replace("_", "") not in {"utf8", "utf16", "utf8sig"}:
        return Glyphs.ASCII
    return Glyphs.BLOCK if term in {"linux", "vt220", "vt100"} else Glyphs.BRAILLE


def bar(fraction: float, cells: int, glyphs: Glyphs) -> str:
    """A bar of `cells` characters, `fraction` (0..1) of it filled; anything above nothing shows at least one."""
    full = min(cells, max(round(fraction * cells), 1 if fraction > 0 else 0))
    return glyphs.filled * full + glyphs.empty * (cells - full)


def terminal_glyphs(environ: Mapping[str, str]) -> Glyphs:
    """The finest set the terminal of this process shows."""
    return automatic_glyphs(getattr(sys.__stdout__, "encoding", None), environ.get("TERM", ""))
