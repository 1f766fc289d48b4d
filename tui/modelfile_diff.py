"""What a Modelfile changes of the model it is made from, and of the text it was opened with."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from corral.runtime.verbs import ModelDetails
from corral.store.errors import ModelfileError
from corral.store.modelfile import Modelfile, parse

_TEXTS = ("template", "system", "renderer", "parser", "requires", "adapter", "draft")
_CONTEXT_LINES = 2
_LONGEST = 2000


class Sign(StrEnum):
    """What becomes of a line."""

    ADDED = "+"
    REMOVED = "-"
    SAME = " "


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a diff."""

    sign: Sign
    text: str


def text_changes(old: str, new: str) -> list[Change]:
    """The lines that differ, with a few that do not around them."""
    lines = difflib.unified_diff(
        old.splitlines()[:_LONGEST], new.splitlines()[:_LONGEST], n=_CONTEXT_LINES, lineterm=""
    )
    return [Change(Sign(line[0]), line[1:]) for line in lines if not line.startswith(("---", "+++", "@@"))]


def changes(text: str, base: ModelDetails) -> list[Change]:
    """What a Modelfile made FROM this model changes of it; parameters merge, the rest replaces (spec f.3).

    Raises:
        ModelfileError: the text does not parse.
    """
    new, old = parse(text, require_from=False), _parsed(base.modelfile)
    found = [change for name in _TEXTS for change in _of_text(name, new, old)]
    found += _of_parameters(new.parameters, base.parameters)
    messages = [f"MESSAGE {role} {content}" for role, content in new.messages]
    if messages:
        had = [f"MESSAGE {message.role} {message.content}" for message in base.messages]
        found += text_changes("\n".join(had), "\n".join(messages))
    found += [Change(Sign.ADDED, f"LICENSE {command.value.strip()[:60]}") for command in new.all("license")]
    return found


def _parsed(modelfile: str) -> Modelfile:
    try:
        return parse(modelfile, require_from=False)
    except ModelfileError:
        return Modelfile(())


def _of_text(name: str, new: Modelfile, old: Modelfile) -> Iterator[Change]:
    wanted, had = new.last(name), old.last(name)
    word = name.upper()
    if wanted is None:
        if had is not None:
            yield Change(Sign.SAME, f"{word} (as in the base)")
    elif had is None:
        lines = wanted.splitlines() or [""]
        yield Change(Sign.ADDED, f"{word} {lines[0]}")
        yield from (Change(Sign.ADDED, line) for line in lines[1:])
    elif wanted.strip() == had.strip():
        yield Change(Sign.SAME, f"{word} (the same as in the base)")
    else:
        yield Change(Sign.SAME, word)
        yield from text_changes(had, wanted)


def _of_parameters(new: Sequence[tuple[str, str]], old: Sequence[tuple[str, str]]) -> Iterator[Change]:
    had: dict[str, list[str]] = {}
    for name, value in old:
        had.setdefault(name, []).append(value)
    wanted: dict[str, list[str]] = {}
    for name, value in new:
        wanted.setdefault(name, [])
        wanted[name] = [*wanted[name], value] if name == "stop" else [value]
    for name, values in had.items():
        if name not in wanted or wanted[name] == values:
            yield from (Change(Sign.SAME, f"PARAMETER {name} {value}") for value in values)
        else:
            yield from (Change(Sign.REMOVED, f"PARAMETER {name} {value}") for value in values)
            yield from (Change(Sign.ADDED, f"PARAMETER {name} {value}") for value in wanted[name])
    for name, values in wanted.items():
        if name not in had:
            yield from (Change(Sign.ADDED, f"PARAMETER {name} {value}") for value in values)
