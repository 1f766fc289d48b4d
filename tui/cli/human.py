"""Numbers and times in Ollama's words, which scripts parse (spec d.2)."""

from __future__ import annotations

from datetime import datetime, timedelta

_HOUR_S = 3600.0
_FOREVER_HOURS = 20 * 365 * 24


def human_bytes(num_bytes: int) -> str:
    """Bytes in decimal units: `4.7 GB`, `19 GB`, `397 MB`, `12 B`."""
    for exponent, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if num_bytes >= 1000**exponent:
            value = num_bytes / 1000**exponent
            return f"{int(value)} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{num_bytes} B"


def human_duration(seconds: float) -> str:
    """A length of time in words: `About an hour`, `3 days`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / _HOUR_S + 0.5)
    if hours == 1:
        return "About an hour"
    for limit_days, hours_each, unit in ((2, 1, "hours"), (14, 24, "days"), (60, 168, "weeks"), (730, 720, "months")):
        if hours < limit_days * 24:
            return f"{hours // hours_each} {unit}"
    return f"{hours // (365 * 24)} years"


def human_time(then: datetime | None, now: datetime) -> str:
    """A moment seen from `now`: `3 days ago`, `4 minutes from now`, `Forever` beyond 20 years, `Never` for None."""
    if then is None:
        return "Never"
    delta: timedelta = now - then
    seconds = delta.total_seconds()
    if seconds / _HOUR_S <= -(_FOREVER_HOURS + 365 * 24):
        return "Forever"
    return f"{human_duration(-seconds)} from now" if seconds < 0 else f"{human_duration(seconds)} ago"


def go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: `1.5s`, `1m3.25s`, `820.5ms`, `0s`."""
    if nanoseconds <= 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return f"{_trimmed(nanoseconds, size)}{unit}"
    seconds = nanoseconds % 60_000_000_000
    minutes = nanoseconds // 60_000_000_000
    text = f"{_trimmed(seconds, 1_000_000_000)}s"
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _trimmed(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
