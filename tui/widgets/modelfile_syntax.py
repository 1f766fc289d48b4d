"""Which parts of a Modelfile's lines are commands, names, values, strings, template actions and comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from corral.store.modelfile import COMMANDS


class Kind(StrEnum):
    """What a stretch of text is."""

    COMMAND = "command"
    UNKNOWN = "unknown"
    NAME = "name"
    VALUE = "value"
    STRING = "string"
    ACTION = "action"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters `start` to `end` of a line."""

    start: int
    end: int
    kind: Kind


_WORD = re.compile(r"\s*(\S+)[ \t]*")
_ACTION = re.compile(r"\{\{.*?\}\}")
_KEYED = ("parameter", "message")


def _closes(text: str, quote: str) -> bool:
    """Whether an open string ends on this line: its quote is the last thing there."""
    return text.rstrip().endswith(quote)


def _string(line: str, start: int) -> list[Stretch]:
    actions = [Stretch(one.start(), one.end(), Kind.ACTION) for one in _ACTION.finditer(line, start)]
    return [Stretch(start, len(line), Kind.STRING), *actions]


def _value(line: str, start: int) -> tuple[list[Stretch], str]:
    """The stretches of a value and the quote that is still open after it."""
    text = line[start:].rstrip()
    quote = next((one for one in ('"""', '"') if text.startswith(one)), "")
    if not quote:
        actions = [Stretch(one.start(), one.end(), Kind.ACTION) for one in _ACTION.finditer(line, start)]
        return [Stretch(start, len(line), Kind.VALUE), *actions], ""
    is_closed = len(text) >= 2 * len(quote) and text.endswith(quote)
    return _string(line, start), "" if is_closed else quote


def _statement(line: str) -> tuple[list[Stretch], str]:
    word = _WORD.match(line)
    if word is None:
        return [], ""
    if line.lstrip().startswith("#"):
        return [Stretch(0, len(line), Kind.COMMENT)], ""
    name = word.group(1).lower()
    stretches = [Stretch(word.start(1), word.end(1), Kind.COMMAND if name in COMMANDS else Kind.UNKNOWN)]
    start = word.end()
    if name in _KEYED and (key := _WORD.match(line, start)) is not None:
        stretches.append(Stretch(key.start(1), key.end(1), Kind.NAME))
        start = key.end()
    more, quote = _value(line, start) if start < len(line) else ([], "")
    return stretches + more, quote


def stretches(lines: Sequence[str]) -> list[list[Stretch]]:
    """The stretches of every line; strings run over lines."""
    quote = ""
    found = []
    for line in lines:
        if quote:
            found.append(_string(line, 0))
            quote = "" if _closes(line, quote) else quote
        else:
            of_line, quote = _statement(line)
            found.append(of_line)
    return found
