"""The border between text from outside and the screen: what passes here may be drawn.

Models, registries, files and clients can send escape sequences, which a terminal obeys: it would write the clipboard
or the title, or clear the screen. Textual lets them through, so every such text goes through `clean`, and
`install_net` makes Textual and Rich drop what was forgotten.
"""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

from corral.tui.control_chars import CONTROL_SIGNS

__all__ = ["SIGN_EACH", "clean", "clean_line", "fit", "install_net"]

_INVISIBLE = (0x00AD, 0x180E, *range(0x200B, 0x200E), *range(0x2060, 0x2065), *range(0x206A, 0x2070), 0xFEFF)
_NONCHARACTERS = (*range(0xFDD0, 0xFDF0), *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)))
_MARKERS = (*range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080))
# Emoji of several characters: one terminal draws them in two cells, the next each part for itself, and then all that
# stands to the right of them is in the wrong place. Without these each part has a width that all agree on.
_JOINING = (*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400))
_FLAG_LETTERS: dict[int, str | None] = {0x1F1E6 + number: chr(0x41 + number) for number in range(26)}
_SIGNS: dict[int, str | None] = {
    **CONTROL_SIGNS,
    **dict.fromkeys((0x061C, 0x200E, 0x200F, *_NONCHARACTERS), "\ufffd"),
    **dict.fromkeys((*_INVISIBLE, *_MARKERS, *_JOINING), None),
    **_FLAG_LETTERS,
}
SIGN_EACH = {
    code: "\ufffd" if sign in (None, "\n") else sign
    for code, sign in _SIGNS.items()
    if code not in _JOINING and code not in _FLAG_LETTERS
}
"""For fields whose cursor counts characters: as `clean`, but a sign for each character, for `str.translate`."""
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e34-\u0e3a\u0e47-\u0e4e\u0eb4-\u0ebc\u0ec8-\u0ecd"
    "\u0f71-\u0f84\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")
_SPACES = str.maketrans("\t\n", "  ")
_CHARACTERS_PER_CELL = 8


def clean(text: str) -> str:
    """Return `text` with all that a terminal would obey made visible or taken out; tabs and newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return _MARKS.sub(r"\1", text.replace("\r\n", "\n").translate(_SIGNS))


def clean_line(text: str) -> str:
    """Return `text` cleaned and on one line."""
    return clean(text).translate(_SPACES)


def fit(text: str, cells: int, *, pad: bool = False) -> str:
    """Return `text` cleaned, on one line and at most `cells` wide, an ellipsis for what was cut; `pad` fills up."""
    if cells <= 0:
        return ""
    longest = cells * _CHARACTERS_PER_CELL
    line = clean_line(text[:longest])
    width = cell_len(line)
    if width > cells or len(text) > longest:
        line = set_cell_size(line, min(cells - 1, width)).rstrip(" …") + "…"
    return set_cell_size(line, cells) if pad else line


def install_net() -> None:
    """Make Textual and Rich drop control characters from every text they draw.

    Their tables are private and hold five codes only; they are default arguments, so they can only be extended in
    place. A test asserts on the raw bytes that this works.
    """
    from rich import control
    from textual import content

    controls = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
    for module in (content, control):
        table = getattr(module, "_CONTROL_STRIP_TRANSLATE", None)
        if isinstance(table, dict):
            table.update(dict.fromkeys(controls))
