"""Text from models, files and servers, made harmless for a terminal. Imports nothing, so that every command may use it.

A terminal obeys control characters wherever they come from: an answer could otherwise clear the screen, set the
clipboard or rewrite what was printed before it. Each is shown as a visible sign instead.
"""

from __future__ import annotations

_C0 = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}
_DELETE = {0x7F: "\u2421"}
_C1 = {code: "\ufffd" for code in range(0x80, 0xA0)}
_REORDERING = {
    code: "\ufffd"
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # bidi embeddings, overrides, isolates
}
_SEPARATORS = {0x2028: "\n", 0x2029: "\n"}
_SURROGATES = {code: "\ufffd" for code in range(0xD800, 0xE000)}  # cannot be encoded, so cannot be printed

CONTROL_SIGNS: dict[int, str] = {**_C0, **_DELETE, **_C1, **_REORDERING, **_SEPARATORS, **_SURROGATES}
"""What stands for each character that may not reach a terminal, for `str.translate`. Tab and newline stay."""


def visible(text: str) -> str:
    """Return `text` with every control character replaced by a sign; line ends become newlines."""
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(CONTROL_SIGNS)


def one_line(text: str) -> str:
    """Return `text` fit for a place of one line: as `visible`, newlines and tabs as blanks."""
    return visible(text).replace("\n", " ").replace("\t", " ")
