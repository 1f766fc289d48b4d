"""Pulls and creates under way, as the screens show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from corral.runtime.rates import Rate
from corral.runtime.snapshot import TransferView
from corral.store.progress import Progress


@dataclass(eq=False)
class Transfer:
    """One job under way. `done` are the bytes of each part that was begun, in that order."""

    id: str
    model: str
    rate: Rate
    progress: Progress
    done: dict[str, int] = field(default_factory=dict)
    whole: int = 0
    parts: int = 0

    def follow(self, progress: Progress) -> None:
        """Take the newest step."""
        if progress.digest == self.progress.digest and progress.completed > self.progress.completed:
            self.rate.add(progress.completed - self.progress.completed)
        if progress.digest:
            self.done[progress.digest] = progress.completed
            self.whole, self.parts = progress.whole or self.whole, progress.parts or self.parts
        self.progress = progress

    def view(self) -> TransferView:
        """What the screens show: the whole of it where that is known, else the part it is at."""
        now = self.progress
        if not self.whole:
            return TransferView(self.id, self.model, now.status, now.completed, now.total, self.rate.per_second())
        done = sum(self.done.values())
        return TransferView(
            self.id,
            self.model,
            now.status,
            min(done, self.whole),
            self.whole,
            self.rate.per_second(),
            part=len(self.done),
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
    def open(self, job_id: str, model: str) -> Iterator[Transfer]:
        """Show a job as long as the block lasts."""
        transfer = Transfer(job_id, model, Rate(self._clock, window_s=3.0), Progress("starting"))
        self._under_way[job_id] = transfer
        try:
            yield transfer
        finally:
            del self._under_way[job_id]

    def views(self) -> tuple[TransferView, ...]:
        """What the screens show."""
        return tuple(one.view() for one in self._under_way.values())
