"""What a filter line means: letters in order, `!` for what does not match, `re:` for a regular expression."""

from __future__ import annotations

import re
from collections.abc import Callable

Matcher = Callable[[str], bool]
"""Whether a text passes."""

_LONGEST = 200
_LONGEST_TEXT = 400


def _is_subsequence(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)


def matcher(line: str) -> Matcher:
    """Read a filter line; several words must all pass. An unfinished regular expression is taken letter by letter."""
    wanted = line.strip()[:_LONGEST]
    if wanted.startswith("!"):
        inner = matcher(wanted[1:])
        return (lambda text: not inner(text)) if wanted[1:].strip() else (lambda text: True)
    if wanted.startswith("re:"):
        try:
            pattern = re.compile(wanted[3:], re.IGNORECASE)
        except re.error:
            literal = wanted[3:].casefold()
            return lambda text: literal in text.casefold()
        # A person can type an expression that takes for ever; the texts it meets are kept short.
        return lambda text: pattern.search(text[:_LONGEST_TEXT]) is not None
    words = wanted.casefold().split()
    return lambda text: all(_is_subsequence(word, text.casefold()) for word in words)
