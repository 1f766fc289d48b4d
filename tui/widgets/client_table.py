"""Who uses the server: requests, tokens, their share of all tokens, and how fast they get them now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs
from rich.text import Text

from corral.runtime.snapshot import ClientView, RequestState, RequestView
from corral.tui.figures import NONE, count, rate
from corral.tui.states import IN_FLIGHT
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, Row

_EVERY = (
    Column("name", "CLIENT", 0, least=8),
    Column("requests", "REQ", 5, is_right=True),
    Column("errors", "ERR", 4, is_right=True),
    Column("tokens", "TOKENS", 6, is_right=True),
    Column("share", "SHARE", 5, is_right=True),
    Column("rate", "TOK/S", 5, is_right=True),
)
_LEFT_OUT = ((42, "rate"), (36, "errors"), (30, "tokens"))
"""Below which width which column goes first."""


def columns(width: int) -> tuple[Column, ...]:
    """The columns a table of this width has room for."""
    gone = {key for least, key in _LEFT_OUT if width < least}
    return tuple(column for column in _EVERY if column.key not in gone)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a client had since the service began, requests in flight included. `share` is of all output, 0..1."""

    client: ClientView
    share: float = 0.0
    tokens_per_s: float = 0.0


def usages(clients: Sequence[ClientView], requests: Sequence[RequestView]) -> list[Usage]:
    """Every client, the largest share first."""
    totals = {one.name: one for one in clients}
    rates: dict[str, float] = {}
    for row in requests:
        if row.state in IN_FLIGHT:
            known = totals.get(row.client, ClientView(row.client))
            totals[row.client] = structs.replace(
                known,
                requests=known.requests + 1,
                prompt_tokens=known.prompt_tokens + row.prompt_done,
                output_tokens=known.output_tokens + row.output_tokens,
            )
        if row.state is RequestState.DECODE:
            rates[row.client] = rates.get(row.client, 0.0) + row.tokens_per_s
    everything = sum(one.output_tokens for one in totals.values()) or 1
    found = [Usage(one, one.output_tokens / everything, rates.get(name, 0.0)) for name, one in totals.items()]
    return sorted(found, key=lambda one: (-one.share, -one.client.requests, one.client.name))


def rows(found: Sequence[Usage]) -> list[tuple[str, Row]]:
    """A row for each client."""
    return [(one.client.name, _row(one)) for one in found]


def _row(one: Usage) -> Row:
    cells = {
        "name": clean_line(one.client.name) or NONE,
        "requests": count(one.client.requests),
        "errors": count(one.client.errors) if one.client.errors else "",
        "tokens": count(one.client.output_tokens),
        "share": f"{one.share * 100:.0f} %",
        "rate": rate(one.tokens_per_s) if one.tokens_per_s else NONE,
    }
    return {key: Text(cell, style="error" if key == "errors" else "") for key, cell in cells.items()}
