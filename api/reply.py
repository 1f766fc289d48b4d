"""Small replies: JSON bodies and the notation of times, as Ollama writes them (spec a.1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web

_CENTURIES = timedelta(days=290 * 365)
_encoder = msgspec.json.Encoder(enc_hook=repr)


def encode(value: object) -> bytes:
    """Write a value as JSON; NaN and infinity become null."""
    return _encoder.encode(value)


def json_reply(value: object, *, status: int = 200, charset: bool = True) -> web.Response:
    """Build a JSON response."""
    kind = "application/json; charset=utf-8" if charset else "application/json"
    return web.Response(body=_encoder.encode(value), status=status, headers={"Content-Type": kind})


def utc_now(time_ns: Callable[[], int] = time.time_ns) -> str:
    """Return this moment as RFC 3339 in UTC, with nanoseconds."""
    seconds, rest = divmod(time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def local_time(moment: datetime) -> str:
    """Return a moment as RFC 3339 in local time with its offset."""
    return moment.astimezone().isoformat()


def expiry(moment: datetime | None) -> str:
    """Return when a model leaves memory; for ever is a date centuries ahead (spec a.13)."""
    return local_time(moment if moment is not None else datetime.now().astimezone() + _CENTURIES)


def without_empty(**fields: Any) -> dict[str, Any]:
    """Return the fields that hold something, as Go's omitempty does."""
    return {name: value for name, value in fields.items() if value or value is False}
