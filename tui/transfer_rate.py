"""How fast a pull may be, as people write it: `5M`, `800k`, `off`."""

from __future__ import annotations

import re

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?(?:/s)?\Z", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def parse_rate(text: str) -> int | None:
    """Bytes a second; 0 for no limit (`""`, `off`), None for what is no rate."""
    if text.strip().lower() in {"", "off", "0", "none"}:
        return 0
    match = _RATE.match(text.strip())
    return int(float(match[1]) * _FACTORS[match[2].lower()]) if match else None
