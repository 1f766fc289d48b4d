"""`GET /v1/models` and `GET /v1/models/:model` for clients of Anthropic's API, which send `anthropic-version`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from corral.api.errors import RequestRefused
from corral.api.reply import without_empty
from corral.runtime.verbs import Details, ModelSummary

_MOST = 1000


def page_object(request: web.Request, models: Sequence[ModelSummary]) -> dict[str, Any]:
    """A page of the models: those behind `after_id` or before `before_id`, `limit` at most.

    Without a `limit` it holds them all, for clients that ask for one page only.

    Raises:
        RequestRefused: a `limit` that is none, or an id that is no model's.
    """
    wanted = request.query.get("limit", str(_MOST))
    if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= _MOST):
        raise RequestRefused(f"limit must be a number from 1 to {_MOST}")
    ids = [model.name for model in models]
    first, last = 0, len(ids)
    if after := request.query.get("after_id"):
        first = _place(ids, after, "after_id") + 1
    if before := request.query.get("before_id"):
        last = _place(ids, before, "before_id")
        first = max(first, last - int(wanted))
    page = models[first:last][: int(wanted)]
    more = first > 0 if before else first + len(page) < last
    return {
        "data": [model_object(model.name, model.details, model.modified_at) for model in page],
        "has_more": more,
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
    }


def model_object(name: str, details: Details, modified_at: datetime) -> dict[str, Any]:
    """A model; its answer may be as long as what it reads."""
    created_at = modified_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    longest = details.context_length
    model = {"type": "model", "id": name, "display_name": name, "created_at": created_at, "lifecycle": "active"}
    return model | without_empty(max_input_tokens=longest, max_tokens=longest)


def _place(ids: Sequence[str], wanted: str, field: str) -> int:
    if wanted not in ids:
        raise RequestRefused(f"{field} {wanted!r} is no model's id")
    return ids.index(wanted)
