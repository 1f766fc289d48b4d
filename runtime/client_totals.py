"""Who asked how much since the service began."""

from __future__ import annotations

from msgspec.structs import replace

from corral.runtime.snapshot import ClientView, RequestState, RequestView

MOST_CLIENTS = 64


class ClientTotals:
    """One line a client; of too many those that were not heard of longest are forgotten. Owned by the service loop."""

    def __init__(self) -> None:
        self._clients: dict[str, ClientView] = {}

    def add(self, row: RequestView) -> None:
        """Count a request that ended."""
        known = self._clients.pop(row.client, ClientView(row.client))
        self._clients[row.client] = replace(
            known,
            requests=known.requests + 1,
            errors=known.errors + (row.state is RequestState.FAILED),
            prompt_tokens=known.prompt_tokens + row.prompt_done,
            output_tokens=known.output_tokens + row.output_tokens,
        )
        if len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]

    def views(self) -> tuple[ClientView, ...]:
        """Every client that is known, the one heard of last first."""
        return tuple(reversed(self._clients.values()))
