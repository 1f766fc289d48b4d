"""How a long job on the store reports itself."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """A step of a long job. `total` and `completed` count bytes; 0 where a status has no size.

    `whole` is the bytes of all `parts` together, of which this is about one; 0 where it is not known.
    """

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
    whole: int = 0
    parts: int = 0
