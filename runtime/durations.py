"""How long something is kept, as users and clients write it (spec a.6): Go durations, seconds, or for ever."""

from __future__ import annotations

import math

from corral.runtime.errors import BadRequest

FOREVER = math.inf


def parse_duration(text: str) -> float:
    """Read a Go duration such as `5m`, `1h30m` or `300ms`; returns seconds.

    Raises:
        BadRequest: with Go's own message, which clients know.
    """
    from goduration import Duration, DurationParseError  # 20 ms that a listing need not pay

    try:
        return Duration.parse(text).total_seconds()
    except DurationParseError as error:
        raise BadRequest(str(error)) from None


def parse_keep_alive(value: object) -> float | None:
    """Read `keep_alive` of a request: seconds as a number, or a Go duration; negative means for ever.

    Returns seconds, `FOREVER`, or None where the field is absent.

    Raises:
        BadRequest: another type, or a text that is no duration (`"-1"` and `"300"` are none).
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        kind = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}.get(type(value), "unknown")
        raise BadRequest(f"Unsupported type: '{kind}'")
    seconds = parse_duration(value) if isinstance(value, str) else float(value)
    if math.isnan(seconds):
        raise BadRequest("keep_alive must be a number of seconds or a duration")
    return FOREVER if seconds < 0 else seconds


def parse_setting(text: str) -> float:
    """Read a keep-alive or time limit from the environment: a Go duration or whole seconds; negative is for ever.

    Raises:
        BadRequest: neither of the two.
    """
    try:
        seconds = float(int(text))
    except ValueError:
        seconds = parse_duration(text)
    return FOREVER if seconds < 0 else seconds
