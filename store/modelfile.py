"""Modelfiles: text to commands with their places, and back (spec f.1, f.4).

The machine is Ollama's, character for character, with two things better: CRLF counts as one line, and every error
knows its line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from corral.store.errors import ModelfileError

#: The directives, in the order in which a Modelfile is written back.
COMMANDS = (
    "from",
    "adapter",
    "template",
    "system",
    "renderer",
    "parser",
    "parameter",
    "license",
    "message",
    "requires",
    "draft",
)
ROLES = ("system", "user", "assistant")

INVALID_COMMAND = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)
INVALID_ROLE = 'message role must be one of "system", "user", or "assistant"'
_UNEXPECTED_END = "unexpected EOF"
_NO_FROM = "no FROM line"
_BLANKS = " \t"
_NEWLINES = "\r\n"
_SPACE = _BLANKS + _NEWLINES
_SEMVER = re.compile(
    r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)?)?\Z"
)


@dataclass(frozen=True, slots=True)
class Command:
    """A directive: `name` in lower case, `args` its value without quotes, behind the name or role it may have.

    So `args` are two for `parameter` (name, text) and `message` (role, text), else one. `line` and `column` say where
    the word begins, `value_line` and `value_column` where the value does, all from 1; 0 where it was not read from a
    text.
    """

    name: str
    args: tuple[str, ...]
    line: int = 0
    column: int = 0
    value_line: int = 0
    value_column: int = 0

    @property
    def value(self) -> str:
        """What the directive sets."""
        return self.args[-1]

    @property
    def key(self) -> str:
        """The parameter's name or the message's role, empty for other directives."""
        return self.args[0] if len(self.args) > 1 else ""


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A parsed Modelfile."""

    commands: tuple[Command, ...]

    def all(self, name: str) -> tuple[Command, ...]:
        """Every command of that name, in order."""
        return tuple(command for command in self.commands if command.name == name)

    def last(self, name: str) -> str | None:
        """The value of the last command of that name: for TEMPLATE, SYSTEM and others where the last one wins."""
        found = self.all(name)
        return found[-1].value if found else None

    @property
    def from_(self) -> str:
        """What the model is made from: the first FROM, empty if there is none."""
        found = self.all("from")
        return found[0].value if found else ""

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Names and texts of the parameters, in order; `stop` accumulates, of others the last wins."""
        return tuple((command.key, command.value) for command in self.all("parameter"))

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """Roles and texts of the messages."""
        return tuple((command.key, command.value) for command in self.all("message"))


def parse(text: str | bytes, *, require_from: bool = True) -> Modelfile:
    """Read a Modelfile.

    Args:
        text: characters, or the bytes of a file: UTF-8, or UTF-16 with a byte order mark.
        require_from: refuse a file without FROM, as a model can't be made from it.

    Raises:
        ModelfileError: with the line it is about.
    """
    commands = _Parser(decode(text)).parse()
    modelfile = Modelfile(tuple(commands))
    if require_from and not modelfile.all("from"):
        raise ModelfileError(_NO_FROM)
    _check(modelfile)
    return modelfile


def render(commands: Iterable[Command]) -> str:
    """Write commands as a Modelfile, one after another, values quoted where they must be."""
    return "".join(f"{_head(command)} {quote(command.value)}\n" for command in commands)


def in_order(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Commands in the order in which `show --modelfile` writes them (spec f.4)."""
    return tuple(sorted(commands, key=lambda command: COMMANDS.index(command.name)))


def quote(value: str) -> str:
    """A value as it has to stand in a Modelfile to be read back as it is.

    Without escapes some values cannot be written, as one with `\"\"\"` at the end of a line; they come out as Ollama
    writes them.
    """
    forms = [f'"{value}"', f'"""{value}"""']
    if '"' in value:
        forms.reverse()
    plain = bool(value) and not any(newline in value for newline in _NEWLINES) and value == value.strip(_SPACE)
    if plain:
        forms.insert(0, value)
    return next((form for form in forms if _reads_back(form, value)), forms[0])


def decode(text: str | bytes) -> str:
    """The characters of a Modelfile: UTF-16 where a byte order mark says so, else UTF-8; the mark is dropped."""
    if isinstance(text, bytes):
        wide = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = text.decode("utf-16" if wide else "utf-8", "replace")
    return text.removeprefix("\ufeff")


def _head(command: Command) -> str:
    return f"{command.name.upper()} {command.key}" if command.key else command.name.upper()


def _reads_back(form: str, value: str) -> bool:
    """Whether a reader would stop exactly at the end of `form` and get `value`."""
    for at, character in enumerate(form):
        if character in _NEWLINES and _unquote(form[:at].strip(_SPACE)) is not None:
            return False
    return _unquote(form.strip(_SPACE)) == value


def _unquote(text: str) -> str | None:
    """A value without its quotes; None as long as they are open."""
    if text.startswith('"""'):
        return text[3:-3] if len(text) >= 6 and text.endswith('"""') else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text


def is_version(text: str) -> bool:
    """Whether REQUIRES can mean something: a semantic version, as `0.14.0` or `v0.14`."""
    return _SEMVER.match(text) is not None


def _check(modelfile: Modelfile) -> None:
    for command in modelfile.all("requires"):
        if not is_version(command.value):
            raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)", command.line)
    for command in modelfile.all("draft"):
        if any(command.value == other.value for other in modelfile.all("from")):
            raise ModelfileError(f"DRAFT must not reference the same local path as FROM: {command.value}", command.line)


class _State(Enum):
    NIL = auto()
    COMMENT = auto()
    NAME = auto()
    KEY = auto()  # the parameter's name or the message's role
    VALUE = auto()


class _Parser:
    """One reading of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._state = _State.NIL
        self._buffer: list[str] = []
        self._commands: list[Command] = []
        self._line = 1
        self._column = 0
        self._name = self._key = ""
        self._start = (1, 1)
        self._value_start: tuple[int, int] | None = None

    def parse(self) -> list[Command]:
        steps = {
            _State.NIL: self._nil,
            _State.COMMENT: self._comment,
            _State.NAME: self._in_name,
            _State.KEY: self._in_key,
            _State.VALUE: self._in_value,
        }
        before = ""
        for character in self._text:
            if before == "\n" or (before == "\r" and character != "\n"):
                self._line += 1
                self._column = 0
            self._column += 1
            steps[self._state](character)
            before = character
        self._end()
        return self._commands

    def _nil(self, character: str) -> None:
        if character == "#":
            self._state = _State.COMMENT
        elif character not in _SPACE:
            self._state = _State.NAME
            self._start = (self._line, self._column)
            self._name = self._key = ""
            self._value_start = None
            self._buffer = [character]

    def _comment(self, character: str) -> None:
        if character in _NEWLINES:
            self._state = _State.NIL

    def _in_name(self, character: str) -> None:
        if _is_letter(character):
            self._buffer.append(character)
            return
        self._name = "".join(self._buffer).lower()
        if character not in _BLANKS or self._name not in COMMANDS:
            raise ModelfileError(INVALID_COMMAND, self._start[0])
        self._state = _State.KEY if self._name in ("parameter", "message") else _State.VALUE
        self._buffer = []

    def _in_key(self, character: str) -> None:
        word = "".join(self._buffer)
        if character in _BLANKS:
            if not word:
                return
            if self._name == "message" and word not in ROLES:
                raise ModelfileError(INVALID_ROLE, self._start[0])
            self._key = word
            self._state = _State.VALUE
            self._buffer = []
        elif _is_letter(character) or (self._name == "parameter" and (character in "0123456789_")):
            self._buffer.append(character)
        else:
            raise ModelfileError(f"{_UNEXPECTED_END}: {word}" if word else _UNEXPECTED_END, self._start[0])

    def _in_value(self, character: str) -> None:
        if character in _NEWLINES:
            value = _unquote("".join(self._buffer).strip(_SPACE))
            if value is not None:
                self._finish(value)
                return
        if self._value_start is None and character not in _SPACE:
            self._value_start = (self._line, self._column)
        if character in _SPACE or character.isprintable():
            self._buffer.append(character)

    def _finish(self, value: str) -> None:
        line, column = self._start
        value_line, value_column = self._value_start or self._start
        args = (self._key, value) if self._key else (value,)
        self._commands.append(Command(self._name, args, line, column, value_line, value_column))
        self._state = _State.NIL

    def _end(self) -> None:
        if self._state in (_State.NIL, _State.COMMENT):
            return
        if self._state is _State.VALUE:
            value = _unquote("".join(self._buffer).strip(_SPACE))
            if value is not None:
                self._finish(value)
                return
        raise ModelfileError(_UNEXPECTED_END, self._start[0])


def _is_letter(character: str) -> bool:
    return "a" <= character.lower() <= "z" and character.isascii()
