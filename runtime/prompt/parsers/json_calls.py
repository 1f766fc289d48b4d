"""Calls whose arguments are JSON: most families', and those of any template whose tag is known (spec g.5).

Behind the opening comes an object that names function and arguments, or the name and then an object of arguments;
alone, several, or in an array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from corral.runtime.engine.protocol import ToolCall
from corral.runtime.prompt.parsers.calls import (
    MOST_NESTED,
    Form,
    Offered,
    Outcome,
    Reader,
    Writing,
    call_of,
    read_json,
)

_NAMES: Final = ("name", "function", "tool_name", "tool")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "input")
_FIRST_KEYS: Final = frozenset({*_NAMES, *_ARGUMENTS, "type", "id", "tool_call_id", "tool_calls"})
_LONGEST_PREFIX: Final = 400
"""More characters than may stand between an opening and its object: name, number and marks."""
_SIGNS: Final = re.compile(r'["\\{}\[\]]')
_BETWEEN: Final = " \t\r\n,;]"


class Balance:
    """Finds where a JSON value that begins with a bracket ends, however often it is looked at while it grows."""

    def __init__(self, start: int) -> None:
        self._at = start
        self._depth = 0
        self._quoted = False

    def end(self, text: str) -> int | None:
        """Return the index behind the value, None where it is not whole yet, -1 where it is nested too deeply."""
        while found := _SIGNS.search(text, self._at):
            sign = found[0]
            if sign == "\\" and found.end() == len(text):
                return None  # what it stands before has yet to come
            self._at = found.end() + (sign == "\\")
            if sign == '"':
                self._quoted = not self._quoted
            elif self._quoted or sign == "\\":
                continue
            elif sign in "{[":
                self._depth += 1
                if self._depth > MOST_NESTED:
                    return -1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return self._at
        self._at = max(self._at, len(text))
        return None


class JsonReader:
    """Reads calls until something else comes. `skipped` marks may stand around them, `closings` end them."""

    def __init__(
        self, offered: Offered, *, closings: tuple[str, ...] = (), skipped: tuple[str, ...] = (), bare: bool = False
    ) -> None:
        self._offered = offered
        self._closings = closings
        self._skipped = skipped
        self._bare = bare
        self._text = ""
        self._start = 0
        self._balance: Balance | None = None
        self._calls = 0

    def push(self, text: str, *, last: bool) -> Outcome:
        """Take the next piece."""
        self._text += text
        calls: list[ToolCall] = []
        while True:
            over = self._between(last=last) if self._balance is None else None
            if over is not None:
                return Outcome(tuple(calls), *over)
            if self._balance is None:
                return Outcome(tuple(calls))
            end = self._balance.end(self._text)
            if end is None and not last:
                return Outcome(tuple(calls))
            found = self._read(end) if end is not None and end > 0 else []
            if not found:
                return Outcome(tuple(calls), True, self._text, True)
            calls += found
            self._calls += len(found)
            self._text, self._balance = self._text[end:], None

    def _between(self, *, last: bool) -> tuple[bool, str, bool] | None:
        """Go to the next object: sets the balance, or returns why there is none; both missing, more has to come."""
        if self._calls:
            self._skip()
            text = self._text
            if closing := next((mark for mark in self._closings if text.startswith(mark)), ""):
                return True, text[len(closing) :], False
            if not text:
                return (True, "", False) if last else None
            if not last and any(mark.startswith(text) for mark in self._closings + self._skipped):
                return None
            if not self._goes_on():
                return None if self._may_go_on() and not last else (True, text, False)
        elif self._bare and (seen := self._looks_like_a_call()) is not True:
            return None if seen is None and not last else (True, self._text, True)
        start = self._text.find("{", 0, _LONGEST_PREFIX)
        if start < 0:
            return (True, self._text, True) if last or len(self._text) >= _LONGEST_PREFIX else None
        self._start, self._balance = start, Balance(start)
        return None

    def _skip(self) -> None:
        """Take away what stands between calls and belongs to none."""
        while True:
            rest = self._text.lstrip(_BETWEEN)
            for mark in self._skipped:
                rest = rest.removeprefix(mark)
            if rest == self._text:
                return
            self._text = rest

    def _goes_on(self) -> bool:
        text = self._text
        return text.startswith(("{", "[")) or any(text.startswith(name) for name in self._names())

    def _may_go_on(self) -> bool:
        return any(name.startswith(self._text) for name in self._names())

    def _names(self) -> list[str]:
        return [] if self._bare else [*self._offered, *(f"functions.{name}" for name in self._offered)]

    def _looks_like_a_call(self) -> bool | None:
        """Say by its first key whether an answer that begins with a bracket may be a call, None while it isn't known.

        An answer in JSON is nothing to hold back.
        """
        text = self._text.lstrip()
        text = text.removeprefix("[").lstrip()
        if text and text[0] != "{":
            return False
        text = text[1:].lstrip()
        if not text:
            return None
        key, quote, _ = text[1:].partition('"')
        if text[0] != '"':
            return False
        return (key in _FIRST_KEYS or key in self._offered) if quote else None

    def _read(self, end: int) -> list[ToolCall]:
        """Return the calls an object means."""
        try:
            value = read_json(self._text[self._start : end])
        except ValueError:
            return []
        before = _name_in(self._text[: self._start], self._offered)
        if before:
            call = call_of(before, value, self._offered)
            return [call] if call else []
        return _calls_in(value, self._offered)


def _name_in(text: str, offered: Offered) -> str:
    """Return the function a text names, the earliest and the longest there; "" for none."""
    found = [(at, -len(name), name) for name in offered if (at := text.find(name)) >= 0]
    return min(found, default=(0, 0, ""))[2]


def _calls_in(value: object, offered: Offered) -> list[ToolCall]:
    if not isinstance(value, Mapping):
        return []
    several = value.get("tool_calls")
    if isinstance(several, list):
        return [call for one in several for call in _calls_in(one, offered)]
    inner = value.get("function")
    if isinstance(inner, Mapping):
        return _calls_in(inner, offered)
    for key in _NAMES:
        name = value.get(key)
        if isinstance(name, str):
            call = call_of(name, _arguments(value), offered)
            if call is not None:
                return [call]
    own = [name for name in value if name in offered]
    call = call_of(own[0], value[own[0]], offered) if len(own) == len(value) == 1 else None
    return [call] if call else []


def _arguments(value: Mapping[str, object]) -> object:
    """Return a call's arguments; some write them as JSON within the JSON, and none at all where there are none."""
    arguments = next((value[key] for key in _ARGUMENTS if key in value), None)
    if isinstance(arguments, str):
        try:
            return read_json(arguments) if arguments.strip() else {}
        except ValueError:
            return None
    return {} if arguments is None else arguments


def json_form(
    *openings: str,
    closings: tuple[str, ...] = (),
    skipped: tuple[str, ...] = (),
    bare: tuple[str, ...] = (),
    dropped: tuple[str, ...] = (),
    writing: Writing,
) -> Form:
    """Return the form of a family whose calls are JSON."""

    def new_reader(opening: str, offered: Offered) -> Reader:
        return JsonReader(offered, closings=closings, skipped=skipped, bare=not opening)

    return Form(openings, new_reader, writing, bare, dropped)
