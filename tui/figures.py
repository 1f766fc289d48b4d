"""Numbers as the screens show them: short, of steady width, always with their unit."""

from __future__ import annotations

import math
from datetime import datetime

NONE = "—"
"""What stands where there is nothing to say."""

UNTOLD = "n/a"
"""What stands where there is a figure and nobody tells it."""

_UNITS = ("B", "K", "M", "G", "T", "P")


def size(num_bytes: float) -> str:
    """Bytes in powers of 1000, three figures at most (`98.4M`, `4.7G`)."""
    value = float(max(num_bytes, 0))
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.0f}{_UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f}{_UNITS[unit]}"


def count(number: float) -> str:
    """A plain number, shortened above ten thousand (`812`, `9870`, `12.4k`, `3.1M`)."""
    if number < 10_000:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1_000_000:.1f}M"


def context(num_tokens: int) -> str:
    """A context length in 1024s (`8k`, `128k`)."""
    if num_tokens <= 0:
        return NONE
    return f"{num_tokens // 1024}k" if num_tokens >= 1024 else str(num_tokens)


def rate(tokens_per_s: float) -> str:
    """Tokens per second (`61.2`, `812`, `2.1k`)."""
    if tokens_per_s >= 1000:
        return f"{tokens_per_s / 1000:.1f}k"
    return f"{tokens_per_s:.1f}" if tokens_per_s < 100 else f"{tokens_per_s:.0f}"


def percent(value: float | None) -> str:
    """A percentage, `n/a` where nobody knows it."""
    return UNTOLD if value is None else f"{value:.0f} %"


def clock(seconds: float | None) -> str:
    """A countdown or an age (`0:06`, `04:12` for minutes, `1:02:03`), `∞` for ever."""
    if seconds is None:
        return NONE
    if math.isinf(seconds):
        return "∞"
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def span(seconds: float) -> str:
    """How long something took (`2ms`, `0.24s`, `12.3s`, `1m07`, `2h03`)."""
    if seconds < 0.1:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    return f"{whole // 60}m{whole % 60:02}" if whole < 3600 else f"{whole // 3600}h{whole // 60 % 60:02}"


def age(then: datetime, now: datetime) -> str:
    """How long ago (`now`, `5m`, `2h`, `3d`, `2y`)."""
    return ago((now - then).total_seconds())


def ago(seconds: float) -> str:
    """Seconds since something happened, as `age` says it."""
    for limit, divisor, unit in ((60, 0, "now"), (3600, 60, "m"), (86_400, 3600, "h"), (31_536_000, 86_400, "d")):
        if seconds < limit:
            return f"{int(seconds // divisor)}{unit}" if divisor else unit
    return f"{int(seconds // 31_536_000)}y"


def time_of_day(wall_s: float) -> str:
    """Local time of day (`12:41:07`)."""
    return datetime.fromtimestamp(wall_s).strftime("%H:%M:%S")
