"""States as a person reads them: a sign and a word each, never a colour alone.

Styles are names of theme colours (`success`, `warning`, `error`, `accent`); `KeyedTable` resolves them.
"""

from __future__ import annotations

from rich.text import Text

from corral.runtime.snapshot import ModelState, RequestState, RequestView

_MODEL = {
    ModelState.LOADING: ("◐", "load", "warning"),
    ModelState.IDLE: ("○", "idle", ""),
    ModelState.BUSY: ("●", "busy", "success"),
    ModelState.STOPPING: ("◌", "stopping", "warning"),
}
_REQUEST = {
    RequestState.WAITING: ("…", "waiting", "warning"),
    RequestState.LOADING: ("◐", "load", "warning"),
    RequestState.PREFILL: ("◔", "prefill", "accent"),
    RequestState.DECODE: ("▸", "decode", "success"),
    RequestState.RUNNING: ("▸", "running", "success"),
    RequestState.DONE: ("✓", "done", ""),
    RequestState.FAILED: ("✗", "failed", "error"),
    RequestState.CANCELED: ("■", "canceled", "warning"),
}
TRANSFER_SIGNS = {"pull": "↓", "push": "↑", "create": "+", "verify": "="}
"""Signs of the kinds of long jobs."""
LEVEL_SIGNS = {"info": ("·", ""), "warning": ("!", "warning"), "error": ("✗", "error")}
"""Sign and style of an event's level."""

IN_FLIGHT = frozenset(
    {RequestState.WAITING, RequestState.LOADING, RequestState.PREFILL, RequestState.DECODE, RequestState.RUNNING}
)
"""States of requests that have not ended."""


def model_state(state: ModelState) -> Text:
    """`● busy`."""
    sign, word, style = _MODEL[state]
    return Text(f"{sign} {word}", style=style)


def request_state(state: RequestState) -> Text:
    """`⏵ decode`."""
    sign, word, style = _REQUEST[state]
    return Text(f"{sign} {word}", style=style)


def request_status(request: RequestView) -> Text:
    """The HTTP status once there is one, the state's sign until then."""
    sign, _, style = _REQUEST[request.state]
    if request.state in IN_FLIGHT or not request.status:
        return Text(sign, style=style)
    return Text(str(request.status), style=style)


def is_error(request: RequestView) -> bool:
    """Whether a request ended badly; one that somebody stopped did not."""
    return request.state is RequestState.FAILED
