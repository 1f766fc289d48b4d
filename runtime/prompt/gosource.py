"""A Go template's text, taken apart at its actions: what it mentions, and the changes it needs before it can run.

Go's library lets Ollama walk the parsed tree; here the source is changed instead, which says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TEXT_FUNCTION: Final = "goText"
"""The function that actions are piped into, so that tools print themselves as JSON."""

LAST_FUNCTION: Final = "goLast"
"""The function that says whether an index is a list's last, which the templates of Ollama's library ask by slicing."""

_LITERAL: Final = r'"(?:\\.|[^"\\\n])*"|`[^`]*`'
_LAST: Final = re.compile(rf"{_LITERAL}|\beq \(len \(slice (\$\.Messages \$\w+)\)\) 1(?=\s*(?:\)|$))")
_END: Final = re.compile(rf"{_LITERAL}|\}}\}}")
_WORD: Final = re.compile(r"[a-z]+\b")
_DECLARES: Final = re.compile(r"\$\w*\s*(?:,\s*\$\w*\s*)?:?=[^=]")
_PLAIN: Final = re.compile(r"\$?\.(?:Content|Role|System|Prompt|Response|Thinking|Suffix|ToolName)")
_OPENERS: Final = frozenset({"if", "range", "with", "block", "define"})
_CONTROL: Final = _OPENERS | {"else", "end", "template", "break", "continue"}
_RESPONSE: Final = re.compile(r"\.Response\b")


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between `{{` and `}}`, at `start` to `end` of the source; `inner` is where its text is."""

    start: int
    end: int
    inner: tuple[int, int]
    text: str

    @property
    def word(self) -> str:
        """The keyword it begins with, "" where it prints, declares or comments."""
        found = _WORD.match(self.text)
        return found[0] if found and found[0] in _CONTROL else ""

    @property
    def prints(self) -> bool:
        """Whether its value goes into the prompt."""
        return not (self.word or not self.text or self.text.startswith("/*") or _DECLARES.match(self.text))


def actions(source: str) -> Iterator[Action]:
    """Find a template's actions; one that is not closed is none."""
    at = 0
    while (start := source.find("{{", at)) >= 0:
        begin = start + 2
        if source.startswith(("/*", "- /*"), begin):
            comment = source.find("*/", begin)
            close = source.find("}}", comment) if comment >= 0 else -1
        else:
            close = _close(source, begin)
        if close < 0:
            return
        first = begin + 1 if source.startswith(("- ", "-\n", "-\t", "-\r"), begin) else begin
        last = close - 1 if source[close - 1] == "-" and source[close - 2].isspace() else close
        yield Action(start, close + 2, (first, last), source[first:last].strip())
        at = close + 2


def _close(source: str, at: int) -> int:
    while (found := _END.search(source, at)) is not None:
        if found[0] == "}}":
            return found.start()
        at = found.end()
    return -1


def mentions(source: str, name: str) -> bool:
    """Say whether an action names a field, as `.Messages`."""
    pattern = re.compile(rf"\.{name}\b")
    return any(pattern.search(one.text) for one in actions(source))


def printing(source: str) -> str:
    """Pipe into `TEXT_FUNCTION` what a template prints, and ask in one call what it asks of its messages in three."""
    parts, at = [], 0
    for one in actions(source):
        text = _LAST.sub(_shorter, one.text)
        if one.prints and not _PLAIN.fullmatch(text):
            text += f" | {TEXT_FUNCTION}"
        if text != one.text:
            first, last = one.inner
            parts += [source[at:first], f" {text} "]
            at = last
    return "".join([*parts, source[at:]])


def _shorter(found: re.Match[str]) -> str:
    return f"{LAST_FUNCTION} {found[1]}" if found[1] else found[0]


def open_ended(source: str) -> str:
    """Cut a template behind the first place that prints the answer, so that a model continues there.

    What is open there is closed; named templates that are defined later stay (Ollama: `template.Execute`).
    """
    depth, found = 0, None
    for one in actions(source):
        depth += (one.word in _OPENERS) - (one.word == "end")
        if one.prints and _RESPONSE.search(one.text):
            found = one
            break
    if found is None:
        return source
    # A trim marker at the cut would reach into the actions that close.
    head = source[: found.inner[0]] + source[found.inner[0] : found.inner[1]] + " }}"
    return head + "{{ end }}" * depth + "".join(_defined(source, found.end))


def _defined(source: str, at: int) -> Iterator[str]:
    """Yield the definitions of named templates behind a place."""
    depth, start = 0, -1
    for one in actions(source):
        if one.start < at:
            continue
        if one.word == "define":
            start, depth = one.start, 0
        depth += (one.word in _OPENERS) - (one.word == "end")
        if start >= 0 and depth == 0:
            yield source[start : one.end]
            start = -1
