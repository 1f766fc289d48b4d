"""Vectors as they come from a runner, and as a request wants them."""

from __future__ import annotations

import math
from array import array


def unpack(data: bytes, dimensions: int = 0) -> tuple[float, ...]:
    """Return a vector of float32 bytes; with `dimensions` above 0 only so many of its values, of length 1 again."""
    values = array("f", data).tolist()
    if not 0 < dimensions < len(values):
        return tuple(values)
    kept = values[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in kept))
    return tuple(value / length for value in kept) if length else tuple(kept)
