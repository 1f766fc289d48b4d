"""Who waits and why: for room in memory, or for a slot or cells of a model that is there."""

from __future__ import annotations

from collections.abc import Iterator

from corral.runtime.requests import RequestLog
from corral.runtime.residents import Resident
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import QueueView, RequestState, RequestView
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
    of_model: dict[str, list[RequestView]] = {}
    for row in waiting:
        if (resident := residents.get(row.model)) is not None:
            of_model.setdefault(resident.wanted.digest, []).append(row)
    held_up = {}
    for rows in of_model.values():
        resident = residents[rows[0].model]
        count, reason = _held_up(resident)
        held_up.update(dict.fromkeys((row.id for row in rows[max(0, len(rows) - count) :]), reason))
    for row in waiting:
        if row.id in held_up:
            yield QueueView(row.id, row.client, row.model, row.started_s, held_up[row.id])


def _held_up(resident: Resident) -> tuple[int, str]:
    """How many of a loaded model's requests wait for others to end, the newest of them, and what for.

    A runner tells who waits in it with its next step only, which a long prompt puts off for seconds.
    """
    runner = resident.runner
    if runner is None:
        return 0, ""
    running = runner.running - runner.streams_waiting
    if resident.waiting or running >= resident.slots:
        return max(resident.waiting, runner.streams_waiting), f"all {resident.slots} slots are busy"
    return runner.streams_waiting, "the cache has no room for its prompt and answer beside the others"
