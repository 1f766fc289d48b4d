"""How much of a hurry a request is in: the header `X-Corral-Priority`."""

from __future__ import annotations

from collections.abc import Mapping

HEADER = "X-Corral-Priority"
LEAST, MOST = -2, 2
_WORDS = {"low": -1, "normal": 0, "high": 1}


def priority_of(headers: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """Return the priority that the headers ask for, 0 by default, and a warning where they ask for none there is."""
    text = headers.get(HEADER, "").strip().lower()
    if not text:
        return 0, ()
    if text in _WORDS:
        return _WORDS[text], ()
    try:
        number = int(text)
    except ValueError:
        number = MOST + 1
    if LEAST <= number <= MOST:
        return number, ()
    return 0, (f"{HEADER} must be low, normal or high, or a number from {LEAST} to {MOST}",)
