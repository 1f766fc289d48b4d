"""What `--think` and `/set think` ask for."""

from __future__ import annotations

import sys

from corral.runtime.verbs import ModelDetails
from corral.tui.control_chars import visible

THINK_WORDS = ("true", "false", "high", "medium", "low", "max")


def think_of(word: str, details: ModelDetails) -> bool | str | None:
    """Return what a word asks for, None where it is "".

    Of a model that cannot think it is not asked: it would answer nothing at all. A warning says so.
    """
    if word in {"", "false"}:
        return False if word else None
    if "thinking" not in details.capabilities:
        print(f'warning: model "{visible(details.name)}" does not support thinking output', file=sys.stderr)
        return None
    return True if word == "true" else word
