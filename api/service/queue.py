"""Who waits and who is served, as `GET /api/queue` tells it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from corral.runtime.snapshot import RequestState, RequestView, Snapshot

_WAITING = frozenset({RequestState.WAITING, RequestState.LOADING})


def queue_object(now: Snapshot, without: str = "") -> dict[str, Any]:
    """Return the requests in flight, the oldest first; `without` is the id of the one that asks.

    `position` counts those that wait for the same model, from 1; a request that does not wait has 0.
    """
    rows = [row for row in reversed(now.requests) if row.ended_s is None and row.id != without]
    places: Counter[str] = Counter()
    shown = []
    for row in rows:
        places[row.model] += row.state in _WAITING
        shown.append(_row_object(row, now.at_s, places[row.model] if row.state in _WAITING else 0))
    waiting = sum(one["position"] > 0 for one in shown)
    return {"waiting": waiting, "running": len(shown) - waiting, "requests": shown}


def _row_object(row: RequestView, now_s: float, position: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "model": row.model,
        "client": row.client,
        "method": row.method,
        "path": row.path,
        "state": str(row.state),
        "position": position,
        "age_seconds": round(max(0.0, now_s - row.started_s), 3),
        "load_progress": row.load_fraction,
        "prompt": {"completed": row.prompt_done, "total": row.prompt_tokens, "cached": row.cached_tokens},
        "output_tokens": row.output_tokens,
        "tokens_per_second": round(row.tokens_per_s, 2),
        "warnings": list(row.warnings),
    }
