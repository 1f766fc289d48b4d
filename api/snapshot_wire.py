"""The snapshot of the screens, for one in another process: written by the service, read by the client.

JSON for people, where null may stand for infinity; MessagePack for screens, which knows infinity. A whole snapshot is
a few hundred kilobytes, most of which was there a second ago. So a reader that says which one it has gets the rest:
rows that ended since, events since, the samples of those seconds.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from corral.runtime import events, requests
from corral.runtime.snapshot import EMPTY, EventView, HostSample, ModelState, ModelView, RequestView, Snapshot
from corral.runtime.verbs import LoadedModel

T = TypeVar("T")

HISTORY_S = 600
"""Samples kept, one a second."""
_SLACK_S = 2.0
PACKED = "application/msgpack"
"""The media type that screens ask for."""

_SERVICE = uuid.uuid4().hex
"""Names this process, so that a reader notices another one at the same address."""


class SnapshotWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reply of `GET /api/snapshot`; `partial` where it only has what is new."""

    snapshot: Snapshot
    service: str = ""
    partial: bool = False


def reply_of(now: Snapshot, *, service: str = "", since_s: float | None = None) -> SnapshotWire:
    """Return the reply for a reader that has the snapshot of `since_s` from the process `service`."""
    is_partial = since_s is not None and service == _SERVICE and since_s <= now.at_s
    return SnapshotWire(_since(now, since_s) if is_partial and since_s is not None else now, _SERVICE, is_partial)


def _since(now: Snapshot, since_s: float) -> Snapshot:
    passed_s = now.at_s - since_s
    seconds = min(HISTORY_S, math.ceil(passed_s + _SLACK_S))
    since_wall_s = now.wall_s - passed_s - _SLACK_S
    return msgspec.structs.replace(
        now,
        requests=tuple(row for row in now.requests if row.ended_s is None or row.ended_s >= since_s - _SLACK_S),
        events=tuple(event for event in now.events if event.wall_s >= since_wall_s),
        history=now.history[-seconds:],
        throughput=now.throughput[-seconds:],
    )


@dataclass(slots=True)
class SnapshotReader:
    """Puts replies together again. Belongs to the loop that reads them."""

    snapshot: Snapshot = EMPTY
    service: str = ""

    def query(self) -> str:
        """What to ask with: which snapshot is here already."""
        return f"?service={self.service}&since={self.snapshot.at_s!r}" if self.service else ""

    def take(self, reply: SnapshotWire) -> Snapshot:
        """Return the whole snapshot."""
        new = _merged(self.snapshot, reply.snapshot) if reply.partial else reply.snapshot
        self.snapshot, self.service = new, reply.service
        return new


def _merged(old: Snapshot, new: Snapshot) -> Snapshot:
    passed = new.at_s - old.at_s
    return msgspec.structs.replace(
        new,
        requests=_rows(old.requests, new.requests),
        events=_events(old.events, new.events),
        history=_samples(old.history, new.history),
        throughput=_continued(old.throughput, new.throughput, round(passed)),
    )


def _rows(old: Sequence[RequestView], new: Sequence[RequestView]) -> tuple[RequestView, ...]:
    """All rows, newest first. One that was in flight and is told no more has been forgotten by its server."""
    known = {row.id for row in new}
    rows = [*new, *(row for row in old if row.id not in known and row.ended_s is not None)]
    rows.sort(key=lambda row: row.started_s, reverse=True)
    return tuple(rows[: max(requests.KEPT, len(new))])


def _events(old: Sequence[EventView], new: Sequence[EventView]) -> tuple[EventView, ...]:
    told = set(new)
    return (*new, *(event for event in old if event not in told))[: events.KEPT]


def _samples(old: Sequence[HostSample], new: Sequence[HostSample]) -> tuple[HostSample, ...]:
    """Join two pieces of history where they say the same; all but the newest sample come without their cores."""
    bare = tuple(msgspec.structs.replace(one, cpu_per_core=()) for one in old)
    for overlap in range(min(len(bare), len(new)), 0, -1):
        if bare[-overlap:] == tuple(msgspec.structs.replace(one, cpu_per_core=()) for one in new[:overlap]):
            return (*bare[:-overlap], *new)[-HISTORY_S:]
    return (*bare, *new)[-HISTORY_S:]


def _continued(old: Sequence[T], new: Sequence[T], passed: int) -> tuple[T, ...]:
    """Add as many of the newest values as seconds have passed: values that repeat say nothing about where to join."""
    return (*old, *new[len(new) - min(passed, len(new)) :])[-HISTORY_S:]


def from_loaded(models: Sequence[LoadedModel], *, serving: str, at_s: float, wall_s: float) -> Snapshot:
    """What `/api/ps` of an Ollama server tells: the models in memory and how long, nothing of requests or machine."""
    return msgspec.structs.replace(
        EMPTY, at_s=at_s, wall_s=wall_s, serving=serving, models=tuple(_view(model, wall_s) for model in models)
    )


def _view(model: LoadedModel, wall_s: float) -> ModelView:
    expires = model.expires_at
    return ModelView(
        name=model.name,
        digest=model.digest,
        state=ModelState.IDLE,
        pid=0,
        load_fraction=1.0,
        num_ctx=model.context_length,
        slots_used=0,
        slots_total=0,
        waiting=0,
        cells_used=0,
        cells_total=0,
        weights_bytes=model.size,
        kv_bytes=0,
        compute_bytes=0,
        vram_bytes=model.size_vram,
        rss_bytes=0,
        cpu_percent=0.0,
        tokens_per_s=0.0,
        prompt_tokens_per_s=0.0,
        expires_in_s=math.inf if expires is None else max(0.0, expires.timestamp() - wall_s),
        remote=model.remote_host,
        hosts=model.hosts,
    )
