"""Tables as Ollama prints them (spec d.2): left aligned, no borders, every column padded, the last one too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from corral.tui.control_chars import one_line

GAP = "    "


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(map(char_cells, text))


def char_cells(char: str) -> int:
    """How many columns one character takes: 0, 1 or 2."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows under an upper-case header; ends with a newline."""
    return _lay_out([header, *rows])


def section(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A part of `show`: its title indented by two, its rows by four, an empty line after it."""
    return f"  {title}\n{_lay_out([('', *row) for row in rows])}\n"


def _lay_out(rows: Sequence[Sequence[str]]) -> str:
    width = max((len(row) for row in rows), default=0)
    full = [[*map(one_line, row), *[""] * (width - len(row))] for row in rows]
    widths = [max(cells(row[column]) for row in full) for column in range(width)]
    lines = ("".join(text + " " * (widths[at] - cells(text)) + GAP for at, text in enumerate(row)) for row in full)
    return "".join(line + "\n" for line in lines)
