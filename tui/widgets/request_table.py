"""The requests of late as rows: who, what, how it went, how fast, and why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from corral.runtime.snapshot import RequestState, RequestView
from corral.tui.figures import NONE, count, rate, span, time_of_day
from corral.tui.filtering import matcher
from corral.tui.states import IN_FLIGHT, is_error, request_status
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

_WIDE = 110
_NARROW = 70
_LEFT_OUT = frozenset({"ttft", "out", "rate"})  # where it is narrow: Enter tells them
_LEAST_S = 0.0005
"""Less than this is drawn as nothing."""


def columns(width: int) -> tuple[Column, ...]:
    """The columns a table of this width has room for."""
    if width < _WIDE:
        every = (
            Column("time", "TIME", 8),
            Column("client", "CLIENT", 9),
            Column("path", "PATH", 13),
            Column("model", "MODEL", 0, least=8),
            Column("status", "ST", 3),
            Column("ttft", "TTFT", 5, is_right=True),
            Column("out", "OUT", 5, is_right=True),
            Column("rate", "TOK/S", 5, is_right=True),
            Column("duration", "DUR", 5, is_right=True),
        )
        return tuple(column for column in every if width >= _NARROW or column.key not in _LEFT_OUT)
    return (
        Column("time", "TIME", 8),
        Column("client", "CLIENT", 12),
        Column("method", "METHOD", 6),
        Column("path", "PATH", 20),
        Column("model", "MODEL", 14),
        Column("status", "ST", 3),
        Column("ttft", "TTFT", 5, is_right=True),
        Column("out", "OUT", 5, is_right=True),
        Column("rate", "TOK/S", 5, is_right=True),
        Column("duration", "DUR", 5, is_right=True),
        Column("why", "WHY", 0),
    )


def why(request: RequestView) -> str:
    """What a request waits for, does, or failed by."""
    if request.note:
        return clean_line(request.note)
    match request.state:
        case RequestState.PREFILL:
            share = request.prompt_done / request.prompt_tokens if request.prompt_tokens else 0.0
            return f"prefill {share * 100:.0f}%"
        case RequestState.LOADING:
            return (
                f"loading the model {request.load_fraction * 100:.0f}%"
                if request.load_fraction
                else "loading the model"
            )
        case _ if request.warnings:
            return " ".join(f"! {clean_line(one)}" for one in request.warnings)
        case RequestState.DECODE:
            return "streaming"
        case RequestState.WAITING:
            return "waiting for a slot"
        case RequestState.CANCELED:
            return "canceled"
        case _:
            return ""


def row(request: RequestView) -> Row:
    """The cells of one request."""
    ttft = request.first_token_s - request.started_s if request.first_token_s is not None else None
    duration = request.ended_s - request.started_s if request.ended_s is not None else None
    style = "error" if is_error(request) else ""
    cells = {
        "time": time_of_day(request.started_wall_s),
        "client": clean_line(request.client),
        "method": clean_line(request.method) or NONE,
        "path": clean_line(request.path),
        "model": clean_line(request.model) or NONE,
        "ttft": span(ttft) if ttft is not None else NONE,
        "out": count(request.output_tokens) if request.output_tokens else NONE,
        "rate": rate(request.tokens_per_s) if request.tokens_per_s else NONE,
        "duration": span(duration) if duration is not None else NONE,
        "why": why(request),
    }
    return {**{key: Text(cell, style=style) for key, cell in cells.items()}, "status": request_status(request)}


class Rows:
    """The rows of requests, each made once for what is said of it: most have ended and change no more."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[RequestView, Row]] = {}

    def of(self, requests: Sequence[RequestView]) -> list[tuple[str, Row]]:
        """A row for each request; the same one as before where nothing has changed."""
        before, self._made = self._made, {}
        for one in requests:
            known = before.get(one.id)
            if known is None or (known[0] is not one and known[0] != one):
                known = (one, row(one))
            self._made[one.id] = known
        return [(key, cells) for key, (_, cells) in self._made.items()]


def chosen(requests: Sequence[RequestView], filter_line: str, *, errors_only: bool) -> list[RequestView]:
    """The requests that pass, newest first."""
    passes = matcher(filter_line)
    wanted = [one for one in requests if not errors_only or is_error(one)]
    return [one for one in wanted if passes(_searched(one))] if filter_line else wanted


def _searched(one: RequestView) -> str:
    """What a filter looks at."""
    what = (one.client, one.method, one.path, one.model, one.status, one.state.value, one.note, *one.warnings)
    return " ".join(map(str, what))


def is_in_flight(request: RequestView) -> bool:
    """Whether it has not ended."""
    return request.state in IN_FLIGHT


def detail_lines(request: RequestView) -> list[str]:
    """All there is to know about a request, a line each."""
    pairs = [
        ("id", request.id),
        ("client", request.client),
        ("request", f"{request.method} {request.path}".strip()),
        ("model", request.model or NONE),
        ("state", f"{request.state.value}{f' ({request.status})' if request.status else ''}"),
        ("started", time_of_day(request.started_wall_s)),
        *_timings(request),
        *_tokens(request),
    ]
    if request.note:
        pairs.append(("why", request.note))
    pairs += [("warning", warning) for warning in request.warnings]
    return [f"{label:<13}{clean_line(value)}" for label, value in pairs]


def _timings(one: RequestView) -> list[tuple[str, str]]:
    """What the time went into, as far as it is known."""
    first_s = one.first_token_s - one.started_s if one.first_token_s is not None else None
    total_s = one.ended_s - one.started_s if one.ended_s is not None else None
    known = one.load_s + one.prompt_s
    waited_s = first_s - known if first_s is not None and one.prompt_s else None
    output_s = total_s - first_s if total_s is not None and first_s is not None else None
    parts = {"load": one.load_s, "slot": waited_s or 0.0, "prompt": one.prompt_s, "output": output_s or 0.0}
    spent = " · ".join(f"{name} {span(seconds)}" for name, seconds in parts.items() if seconds >= _LEAST_S)
    lines = [("duration", span(total_s) if total_s is not None else "still running")]
    if first_s is not None:
        lines.insert(0, ("first token", span(first_s)))
    if spent:
        lines.append(("spent on", spent))
    return lines


def _tokens(one: RequestView) -> list[tuple[str, str]]:
    """What it read and wrote, where a model did so."""
    lines = []
    if one.prompt_tokens:
        of = f"{one.prompt_done} of " if one.prompt_done < one.prompt_tokens else ""
        lines.append(("prompt", f"{of}{one.prompt_tokens} tokens, {one.cached_tokens} from the cache"))
    if one.output_tokens:
        lines.append(("output", f"{one.output_tokens} tokens, {rate(one.tokens_per_s)} tok/s"))
    return lines


_SORT_KEYS: dict[str, Callable[[RequestView], float | str]] = {
    "time": lambda one: one.started_s,
    "client": lambda one: one.client,
    "path": lambda one: one.path,
    "model": lambda one: one.model,
    "status": lambda one: one.status or 1000,  # what runs comes after all that ended
    "ttft": lambda one: one.first_token_s - one.started_s if one.first_token_s is not None else 0.0,
    "out": lambda one: one.output_tokens,
    "rate": lambda one: one.tokens_per_s,
    "duration": lambda one: one.ended_s - one.started_s if one.ended_s is not None else float("inf"),
}
SORTS = tuple(_SORT_KEYS)
"""The columns one can sort by, in the order of the sort key."""


def ordered(requests: Sequence[RequestView], sort_by: str, *, is_descending: bool) -> list[RequestView]:
    """The requests in another order than they came in."""
    return sorted(requests, key=_SORT_KEYS[sort_by], reverse=is_descending)
