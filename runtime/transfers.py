"""Pulls, pushes and creates under way, as the screens show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec import structs

from corral.runtime.rates import Rate
from corral.runtime.snapshot import TransferView
from corral.store.progress import Progress


@dataclass(eq=False)
class Transfer:
    """One job under way. `done` are the bytes of each part that was begun, in that order."""

    id: str
    model: str
    kind: str
    rate: Rate
    progress: Progress
    done: dict[str, int] = field(default_factory=dict)
    whole: int = 0
    parts: int = 0

    def follow(self, progress: Progress) -> None:
        """Take the newest step. The first bytes of a part may have come on another day: they are no speed."""
        last = self.progress
        if progress.digest == last.digest and progress.completed > last.completed > 0:
            self.rate.add(progress.completed - last.completed)
        if progress.whole:
            self.done[progress.digest] = progress.completed
            self.whole, self.parts = progress.whole, progress.parts
        self.progress = progress

    def view(self) -> TransferView:
        """What the screens show: the whole of it where that is known, else the part it is at."""
        now = self.progress
        is_of_whole = bool(now.whole) or not now.total
        completed, total = (sum(self.done.values()), self.whole) if is_of_whole else (now.completed, now.total)
        view = TransferView(
            self.id, self.model, now.status, min(completed, total), total, self.rate.per_second(), kind=self.kind
        )
        if not now.whole:
            return view
        return structs.replace(
            view,
            part=list(self.done).index(now.digest) + 1,
            parts=self.parts,
            part_completed=now.completed,
            part_total=now.total,
        )


class Transfers:
    """The jobs under way. Owned by the service loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way: dict[str, Transfer] = {}

    @contextmanager
    def open(self, job_id: str, model: str, kind: str) -> Iterator[Transfer]:
        """Show a job as long as the block lasts."""
        transfer = Transfer(job_id, model, kind, Rate(self._clock, window_s=3.0), Progress("starting"))
        self._under_way[job_id] = transfer
        try:
            yield transfer
        finally:
            del self._under_way[job_id]

    def views(self) -> tuple[TransferView, ...]:
        """What the screens show."""
        return tuple(one.view() for one in self._under_way.values())
