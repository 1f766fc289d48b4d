"""The table of requests: who asked what, how far it is, how it ended. One row per HTTP request or screen verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import cast

from corral.runtime.client_totals import ClientTotals
from corral.runtime.recordings import Recordings
from corral.runtime.snapshot import RequestState, RequestView
from corral.runtime.verbs import Caller

KEPT = 200
_ENDED = (RequestState.DONE, RequestState.FAILED, RequestState.CANCELED)


class RequestLog:
    """Rows of requests in flight and of the last that ended. Owned by the service loop.

    A request in flight is never dropped; of those that ended the newest `KEPT` stay. `on_change` is called when one
    begins or ends, `on_end` with the row that ended and the state it had until then, `on_row_end` with the row alone.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._rows: dict[str, RequestView] = {}
        self._news: dict[str, dict[str, object]] = {}
        self._cancels: dict[str, Callable[[], None]] = {}
        self.recordings = Recordings()
        self.clients = ClientTotals()
        self.on_row_end: Callable[[RequestView], None] = lambda row: None
        self.on_change: Callable[[], None] = lambda: None
        self.on_end: Callable[[RequestView, RequestState], None] = lambda row, before: None

    def begin(self, caller: Caller, model: str = "", cancel: Callable[[], None] | None = None) -> None:
        """Open a row. A second call for the same id adds the model and the way to cancel; one that ended makes room."""
        if cancel is not None:
            self._cancels[caller.request_id] = cancel
        if self.is_open(caller.request_id):
            if model:
                self.update(caller.request_id, model=model)
            return
        self._rows.pop(caller.request_id, None)
        self._rows[caller.request_id] = RequestView(
            id=caller.request_id,
            client=caller.client,
            method=caller.method,
            path=caller.path,
            model=model,
            state=RequestState.RUNNING,
            started_wall_s=self._wall_clock(),
            started_s=self._clock(),
        )
        self._forget_oldest()
        self.on_change()

    def update(self, request_id: str, **fields: object) -> None:
        """Change fields of a row that is still open; a request that ended stays as it was."""
        row = self._rows.get(request_id)
        if row is not None and row.state not in _ENDED:
            # A row is made anew when somebody looks: streams change theirs far more often.
            self._news.setdefault(request_id, {}).update(fields)

    def end(self, request_id: str, *, status: int, note: str = "") -> None:
        """Close a row with its HTTP status (499: its client went away or it was cancelled)."""
        self._cancels.pop(request_id, None)
        row = self.get(request_id)
        if row is None or row.state in _ENDED:
            return
        state = RequestState.DONE
        if status == 499:
            state = RequestState.CANCELED
        elif status >= 400 or note:
            state = RequestState.FAILED
        ended = replace(row, state=state, status=status, ended_s=self._clock(), note=note or row.note)
        self._rows[request_id] = ended
        self.clients.add(ended)
        self.on_row_end(ended)
        self.on_end(ended, row.state)
        self.on_change()

    def cancel(self, request_id: str) -> bool:
        """Stop a request in flight; False where there is none of that id that can be stopped."""
        cancel = self._cancels.pop(request_id, None)
        if cancel is None:
            return False
        cancel()
        return True

    def get(self, request_id: str) -> RequestView | None:
        """The row of that id."""
        row, news = self._rows.get(request_id), self._news.pop(request_id, None)
        if row is not None and news:
            row = self._rows[request_id] = replace(row, **news)  # type: ignore[arg-type]
        return row

    def warnings(self, request_id: str) -> tuple[str, ...]:
        """The warnings in the row of that id, which is not made anew for it: every answer is asked for them."""
        row, news = self._rows.get(request_id), self._news.get(request_id, {})
        return cast(tuple[str, ...], news.get("warnings", row.warnings if row is not None else ()))

    def is_open(self, request_id: str) -> bool:
        """Say whether a request of that id is in flight."""
        row = self._rows.get(request_id)
        return row is not None and row.state not in _ENDED

    @property
    def in_flight(self) -> int:
        """How many rows are still open."""
        return sum(row.state not in _ENDED for row in self._rows.values())

    def rows(self) -> tuple[RequestView, ...]:
        """All rows, newest first."""
        for request_id in tuple(self._news):
            self.get(request_id)
        return tuple(reversed(self._rows.values()))

    def _forget_oldest(self) -> None:
        surplus = len(self._rows) - KEPT
        if surplus <= 0:
            return
        ended = (key for key, row in self._rows.items() if row.state in _ENDED)
        for request_id in tuple(islice(ended, surplus)):
            del self._rows[request_id]
