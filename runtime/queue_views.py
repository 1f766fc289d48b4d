"""Who waits and why: for room in memory, or for a slot or cells of a model that is there."""

from __future__ import annotations

from collections.abc import Iterator

from corral.runtime.requests import RequestLog
from corral.runtime.residents import Resident
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import QueueView, RequestState
from corral.runtime.waiting_line import Ticket


def waiting_requests(scheduler: Scheduler, requests: RequestLog) -> tuple[QueueView, ...]:
    """Return those who wait, each line in its order."""
    tickets = scheduler.tickets()
    for_room = [_of_ticket(ticket, requests) for ticket in tickets]
    return (*for_room, *_for_slots(scheduler, requests, {ticket.request_id for ticket in tickets}))


def _of_ticket(ticket: Ticket, requests: RequestLog) -> QueueView:
    row = requests.get(ticket.request_id)
    return QueueView(
        request_id=ticket.request_id,
        client=row.client if row is not None else "",
        model=ticket.name,
        since_s=ticket.since,
        reason=ticket.reason,
        priority=ticket.priority,
        for_room=True,
    )


def _for_slots(scheduler: Scheduler, requests: RequestLog, counted: set[str]) -> Iterator[QueueView]:
    waiting = [row for row in reversed(requests.rows()) if row.state is RequestState.WAITING and row.id not in counted]
    if not waiting:
        return
    residents = {name: one for one in scheduler.residents for name in one.names}
    for row in waiting:
        resident = residents.get(row.model)
        if resident is not None and (reason := _busy(resident)):
            yield QueueView(row.id, row.client, row.model, row.started_s, reason)


def _busy(resident: Resident) -> str:
    """Say what keeps a loaded model from beginning another request; "" where nothing does."""
    runner = resident.runner
    if runner is None or not runner.streams_waiting:
        return ""
    running = runner.running - runner.streams_waiting
    if running >= resident.slots:
        return f"all {resident.slots} slots are busy"
    return "the cache has no room for its prompt and answer beside the others"
