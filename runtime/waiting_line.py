"""Those who wait for a model: who is next, and how many there are.

First come, first served; a step of priority counts as having come so much earlier. So whoever waits is passed by those
who come later for a bounded time only, whatever their priority.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PRIORITY_STEP_S = 30.0


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the line: for which weights, and since when in seconds of a monotonic clock. `reason` says why.

    `request_id` is the request that waits, where it is known.
    """

    digest: str
    name: str
    since: float
    priority: int = 0
    reason: str = ""
    request_id: str = ""

    @property
    def rank(self) -> float:
        """The lower, the sooner."""
        return self.since - self.priority * PRIORITY_STEP_S


class WaitingLine:
    """The tickets in their order. Owned by the service loop."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        return iter(sorted(self._tickets, key=lambda ticket: ticket.rank))

    def join(self, ticket: Ticket) -> None:
        """Begin to wait."""
        self._tickets.append(ticket)

    def leave(self, ticket: Ticket) -> bool:
        """Wait no longer; False where it did not."""
        if ticket not in self._tickets:
            return False
        self._tickets.remove(ticket)
        return True

    def is_next(self, ticket: Ticket) -> bool:
        """Say whether nobody in the line comes before a ticket, which need not be in it."""
        return all(one is ticket or one.rank >= ticket.rank for one in self._tickets)

    def count(self, digest: str) -> int:
        """How many wait for these weights."""
        return sum(ticket.digest == digest for ticket in self._tickets)
