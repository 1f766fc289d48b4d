"""Pulls and creates under way, as the screens show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from corral.runtime.rates import Rate
from corral.runtime.snapshot import TransferView
from corral.store.progress import Progress


@dataclass(eq=False)
class Transfer:
    """One job under way."""

    id: str
    model: str
    rate: Rate
    progress: Progress

    def follow(self, progress: Progress) -> None:
        """Take the newest step."""
        if progress.digest == self.progress.digest and progress.completed > self.progress.completed:
            self.rate.add(progress.completed - self.progress.completed)
        self.progress = progress


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
        return tuple(
            TransferView(
                one.id,
                one.model,
                one.progress.status,
                one.progress.completed,
                one.progress.total,
                one.rate.per_second(),
            )
            for one in self._under_way.values()
        )
