"""What form an answer is asked to have: `--format` and `/set format`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TypeAlias

Form: TypeAlias = str | Mapping[str, object] | None


def form_of(text: str) -> Form:
    """Return the form that "json" or a JSON Schema names, None for none.

    Raises:
        InvalidFormat: it is neither.
    """
    if not text:
        return None
    from corral.runtime.formats import parse_format

    given: object = text
    with contextlib.suppress(ValueError, RecursionError):
        given = json.loads(text)
    return parse_format(given)
