"""What is wrong or doubtful in a Modelfile, with its place: rules over the same tree the model is made from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from corral.store.errors import ModelfileError
from corral.store.modelfile import COMMANDS, INVALID_COMMAND, INVALID_ROLE, Command, Modelfile, decode, parse


class Severity(StrEnum):
    """Whether a model can be made all the same."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell whoever edits the file; `line` and `column` count from 1."""

    severity: Severity
    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class ParameterRules:
    """What the runtime knows about parameters; the store may not ask it.

    `check` gets a known name and its text and says what is wrong with it, or None.
    """

    known: Collection[str]
    check: Callable[[str, str], str | None]
    deprecated: Collection[str] = ()


_MOST_BROKEN = 50
"""Lines that are passed over before the rest is left unread."""
_LAST_WINS = ("template", "system", "adapter", "renderer", "parser", "requires")


def lint(text: str, rules: ParameterRules) -> tuple[Finding, ...]:
    """Check a Modelfile as it is being edited.

    Returns:
        What was found, by line; empty for a file from which a model can be made without surprises.
    """
    modelfile, broken = readable(text)
    if modelfile is None:
        return broken
    findings = [
        *broken,
        *_from(modelfile, decode(text)),
        *_parameters(modelfile, rules),
        *_overridden(modelfile),
        *_template(modelfile),
        *_comments(modelfile),
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.line, finding.column, finding.message)))


def readable(text: str) -> tuple[Modelfile | None, tuple[Finding, ...]]:
    """Read a Modelfile without the lines that are none, which are told as findings; None where that is not enough."""
    lines = decode(text).split("\n")
    findings: list[Finding] = []
    while len(findings) < _MOST_BROKEN:
        try:
            return parse("\n".join(lines), require_from=False), tuple(findings)
        except ModelfileError as error:
            place = error.line - 1
            is_one_line = error.message in (INVALID_COMMAND, INVALID_ROLE) and 0 <= place < len(lines)
            message = _unknown(lines[place]) if is_one_line and error.message == INVALID_COMMAND else ""
            findings.append(Finding(Severity.ERROR, max(error.line, 1), 1, message or error.message))
            if not is_one_line:
                break
            _pass_over(lines, place)
    return None, tuple(findings)


def _unknown(line: str) -> str:
    """What to say of a word that is no command but looks like one; "" where it does not."""
    word = (line.split() or [""])[0]
    near = difflib.get_close_matches(word.lower(), COMMANDS, n=1)
    return f"unknown command '{word}'; did you mean {near[0].upper()}?" if near else ""


def _pass_over(lines: list[str], place: int) -> None:
    """Empty a line, with the string over several lines that begins there."""
    is_open = lines[place].count('"""') % 2 == 1
    lines[place] = ""
    while is_open and (place := place + 1) < len(lines):
        is_open = '"""' not in lines[place]
        lines[place] = ""


def _from(modelfile: Modelfile, text: str) -> Iterator[Finding]:
    found = modelfile.all("from")
    if not found:
        yield Finding(Severity.ERROR, 1, 1, "no FROM line" if text.strip() else "no FROM line: the file is empty")
    for command in found:
        if not command.value:
            yield _at(command, Severity.ERROR, "FROM needs a model's name or the path of a GGUF file")


def _parameters(modelfile: Modelfile, rules: ParameterRules) -> Iterator[Finding]:
    for command in modelfile.all("parameter"):
        if command.key in rules.deprecated:
            yield _at(command, Severity.WARNING, f"parameter {command.key} is deprecated and does nothing")
        elif command.key not in rules.known:
            near = difflib.get_close_matches(command.key, list(rules.known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield _at(command, Severity.ERROR, f"unknown parameter '{command.key}'{hint}")
        elif (wrong := rules.check(command.key, command.value)) is not None:
            yield _at_value(command, Severity.ERROR, wrong)


def _overridden(modelfile: Modelfile) -> Iterator[Finding]:
    winners: dict[tuple[str, str], Command] = {}
    for command in reversed(modelfile.commands):
        if command.name not in _LAST_WINS and (command.name != "parameter" or command.key == "stop"):
            continue
        winner = winners.setdefault((command.name, command.key), command)
        if winner is not command:
            what = command.key or command.name.upper()
            yield _at(command, Severity.WARNING, f"{what} is set again on line {winner.line}, which wins")


def _template(modelfile: Modelfile) -> Iterator[Finding]:
    templates = modelfile.all("template")
    if not templates:
        return
    command = templates[-1]
    if command.value.count("{{") != command.value.count("}}"):
        yield _at_value(command, Severity.ERROR, "TEMPLATE has a {{ without its }}")
    names = (".System", ".Messages")
    if modelfile.all("system") and not any(name in command.value for name in names):
        yield _at_value(command, Severity.WARNING, "TEMPLATE never uses .System, so SYSTEM does nothing")


def _comments(modelfile: Modelfile) -> Iterator[Finding]:
    for command in modelfile.commands:
        if command.name in ("from", "parameter", "adapter", "requires") and " #" in command.value:
            yield _at_value(command, Severity.WARNING, "# begins a comment only at the beginning of a line")


def _at(command: Command, severity: Severity, message: str) -> Finding:
    return Finding(severity, command.line, command.column, message)


def _at_value(command: Command, severity: Severity, message: str) -> Finding:
    return Finding(severity, command.value_line, command.value_column, message)
