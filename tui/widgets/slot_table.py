"""The requests one model works on: who asked, how far the prompt is, what came from the cache, how fast."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.text import Text

from corral.runtime.snapshot import RequestState, RequestView
from corral.tui.figures import NONE, clock, count, rate
from corral.tui.states import IN_FLIGHT, request_state
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

_NARROW = 70
_LEFT_OUT = frozenset({"cached", "rate", "age"})


def columns(width: int) -> tuple[Column, ...]:
    """The columns a table of this width has room for."""
    is_wide = width >= 100
    every = (
        Column("client", "CLIENT", 22 if is_wide else 11),
        Column("path", "REQUEST", 0, least=10),
        Column("state", "STATE", 10),
        Column("prompt", "PROMPT", 11, is_right=True),
        Column("cached", "CACHED", 6, is_right=True),
        Column("out", "OUT", 5, is_right=True),
        Column("rate", "TOK/S", 6, is_right=True),
        Column("age", "AGE", 5, is_right=True),
    )
    return tuple(column for column in every if width >= _NARROW or column.key not in _LEFT_OUT)


def slots_of(model: str | None, requests: Sequence[RequestView], loaded: Collection[str]) -> list[RequestView]:
    """Requests in flight on a model, oldest first: the order they were admitted in.

    Models with the same weights share one place in memory under one of their names, so a request by a name that is
    not `loaded` may be on any of them: it is shown with each rather than with none.
    """
    if model is None:
        return []
    wanted = (one for one in requests if one.model == model or one.model not in loaded)
    running = (one for one in wanted if one.state in IN_FLIGHT and one.state is not RequestState.RUNNING)
    return sorted(running, key=lambda one: one.started_s)


def row(request: RequestView, model: str | None, now_s: float) -> Row:
    """The cells of one request; it says by which name it asked where that is not the model's."""
    path = request.path if request.model == model else f"{request.path} as {request.model}"
    cells = {
        "client": clean_line(request.client),
        "path": clean_line(path),
        "prompt": f"{count(request.prompt_done)}/{count(request.prompt_tokens)}" if request.prompt_tokens else NONE,
        "cached": count(request.cached_tokens) if request.prompt_tokens else NONE,
        "out": count(request.output_tokens) if request.output_tokens else NONE,
        "rate": rate(request.tokens_per_s) if request.tokens_per_s else NONE,
        "age": clock(now_s - request.started_s),
    }
    return {**{key: Text(cell) for key, cell in cells.items()}, "state": request_state(request.state)}
