"""Gemma's calls: `call:weather{city:<|"|>Oslo<|"|>,days:3}` (spec g.6: functiongemma, gemma4)."""

from __future__ import annotations

import re
from typing import Final

from corral.runtime.prompt.parsers.calls import (
    MOST_NESTED,
    Arguments,
    Form,
    Offered,
    Outcome,
    Reader,
    Writing,
    call_of,
    read_json,
)

_HEAD: Final = re.compile(r"\s*call:\s*([^\s{]+)\s*")
_KEY: Final = re.compile(r"\s*([^\s:,{}\[\]]+)\s*:")
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BARE: Final = re.compile(r"[^,{}\[\]]*")


class GemmaReader:
    """Reads one call between two marks; texts in it stand between `quote` marks."""

    def __init__(self, offered: Offered, closing: str, quote: str) -> None:
        self._offered = offered
        self._closing = closing
        self._quote = quote
        self._text = ""
        self._seen = 0

    def push(self, text: str, *, last: bool) -> Outcome:
        """Take the next piece."""
        self._text += text
        while (at := self._text.find(self._closing, self._seen)) >= 0:
            self._seen = at + len(self._closing)
            if self._text.count(self._quote, 0, at) % 2 == 0:
                return self._read(self._text[:at], self._text[self._seen :])
        self._seen = max(self._seen, len(self._text) - len(self._closing) + 1)
        return self._read(self._text, "") if last else Outcome()

    def _read(self, text: str, rest: str) -> Outcome:
        head = _HEAD.match(text)
        try:
            call = None
            if head is not None:
                values = _Values(text, head.end(), self._quote)
                arguments = values.table(0)
                call = None if values.left_over() else call_of(head[1], arguments, self._offered)
        except (ValueError, IndexError):
            call = None
        return Outcome((call,), True, rest) if call else Outcome((), True, self._text, True)


class _Values:
    """Walks over the text of a call's arguments. Its methods raise ValueError or IndexError for what is none."""

    def __init__(self, text: str, at: int, quote: str) -> None:
        self._text = text
        self._at = at
        self._quote = quote

    def left_over(self) -> str:
        return self._text[self._at :].strip()

    def table(self, depth: int) -> dict[str, object]:
        self._take("{", depth)
        found: dict[str, object] = {}
        while not self._ends("}"):
            key = self._key()
            found[key] = self._value(depth + 1)
            self._part("}")
        return found

    def _list(self, depth: int) -> list[object]:
        self._take("[", depth)
        found: list[object] = []
        while not self._ends("]"):
            found.append(self._value(depth + 1))
            self._part("]")
        return found

    def _take(self, sign: str, depth: int) -> None:
        if depth > MOST_NESTED or self._text[self._at] != sign:
            raise ValueError(sign)
        self._at += 1

    def _ends(self, sign: str) -> bool:
        self._skip_blanks()
        if self._text[self._at] != sign:
            return False
        self._at += 1
        return True

    def _part(self, closing: str) -> None:
        self._skip_blanks()
        if self._text[self._at] == ",":
            self._at += 1
        elif self._text[self._at] != closing:
            raise ValueError("neither a comma nor the end")

    def _skip_blanks(self) -> None:
        while self._text[self._at].isspace():
            self._at += 1

    def _key(self) -> str:
        if (text := self._quoted()) is not None:
            self._skip_blanks()
            self._take(":", 0)
            return text
        found = _KEY.match(self._text, self._at)
        if found is None:
            raise ValueError("no key")
        self._at = found.end()
        return found[1]

    def _quoted(self) -> str | None:
        if self._text.startswith(self._quote, self._at):
            start = self._at + len(self._quote)
            end = self._text.index(self._quote, start)
            self._at = end + len(self._quote)
            return self._text[start:end]
        if found := _JSON_TEXT.match(self._text, self._at):
            self._at = found.end()
            return str(read_json(found[0]))
        return None

    def _value(self, depth: int) -> object:
        self._skip_blanks()
        if (text := self._quoted()) is not None:
            return text
        if self._text[self._at] == "{":
            return self.table(depth)
        if self._text[self._at] == "[":
            return self._list(depth)
        found = _BARE.match(self._text, self._at)
        assert found is not None  # it matches nothing, too
        self._at = found.end()
        plain = found[0].strip()
        try:
            return read_json(plain)
        except ValueError:
            return plain


def gemma_form(opening: str, closing: str, quote: str, *, dropped: tuple[str, ...] = ()) -> Form:
    """Return the form of one of the two generations."""

    def new_reader(found: str, offered: Offered) -> Reader:
        return GemmaReader(offered, closing, quote)

    writing = Writing(f"{opening}call:NAME", closing, arguments=Arguments.GEMMA, quote=quote)
    return Form((opening,), new_reader, writing, dropped=dropped)
