"""How a long job on the store reports itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a long job. `total` and `completed` count bytes; 0 where a status has no size."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
