"""Looking after the models of a store, as types: what a pull would fetch, which pulls were left, what fits the memory.

`verbs.Client` has these verbs too; they stand by themselves because only people's tools ask them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from corral.store.progress import Progress

if TYPE_CHECKING:
    from corral.runtime.settings_change import SettingsChange
    from corral.runtime.verbs import Caller

__all__ = [
    "Cleanup",
    "Eviction",
    "Fit",
    "LoadPlan",
    "PullPlan",
    "SettingView",
    "Trashed",
    "UnfinishedPull",
    "Upkeep",
]


class PullPlan(msgspec.Struct, frozen=True):
    """What a pull would bring: `size` bytes in `parts`, of which `needed` bytes are still to be fetched.

    `digest` is the manifest's sha256 in hex, "" where there is none; `weights` the bytes of the weights, which a loaded
    model takes at least; `disk_free` the bytes the store's disk has left, `in_trash` those that emptying
    the trash would free, where there is no room.
    """

    model: str
    digest: str
    size: int
    needed: int
    parts: int
    parts_here: int
    weights: int
    disk_free: int
    in_trash: int = 0

    @property
    def has_room(self) -> bool:
        """Whether the disk can take it."""
        return self.needed <= self.disk_free


class UnfinishedPull(msgspec.Struct, frozen=True):
    """A pull that came to no end: of its `total` bytes `completed` are safe. `since_s` is Unix time.

    `limit_rate` and `insecure` are what it was asked for with; see `verbs.Client.pull`.
    """

    model: str
    completed: int
    total: int
    since_s: float
    limit_rate: int = 0
    insecure: bool = False


class Fit(msgspec.Struct, frozen=True):
    """Whether a model fits the memory at a context of `num_ctx` tokens, with no other model in memory.

    It needs so many bytes; `on_gpu` of its `layers` have room on GPUs, 0 where there are none.
    """

    num_ctx: int
    needs: int
    layers: int
    on_gpu: int
    fits: bool


class Trashed(msgspec.Struct, frozen=True):
    """Models deleted together that can still be restored, at `deleted_s` (Unix time); `frees` bytes are theirs alone.

    They may share them with others in the trash. They go for good at `until_s`.
    """

    models: tuple[str, ...]
    frees: int
    deleted_s: float
    until_s: float


class Cleanup(msgspec.Struct, frozen=True):
    """Files of the store that no model needs, and what lies in the `trash`, with the bytes emptying it frees in all."""

    files: int
    frees: int
    trash: tuple[Trashed, ...] = ()
    trash_frees: int = 0


class Eviction(msgspec.Struct, frozen=True):
    """A model that would be put out: the bytes that frees, why one has to go, and why it is this one.

    A `busy` one ends its requests first.
    """

    model: str
    frees: int
    why: str
    reason: str
    busy: bool = False


class LoadPlan(msgspec.Struct, frozen=True):
    """What loading a model now would do: it needs so many bytes, and puts out `evicts`, in this order.

    One that is `in_memory` already needs none of that. `stays` are the pinned ones, and `has_room` whether there is
    room for it once all of `evicts` are gone.
    """

    model: str
    needs: int
    evicts: tuple[Eviction, ...] = ()
    stays: tuple[str, ...] = ()
    in_memory: bool = False
    has_room: bool = True


class SettingView(msgspec.Struct, frozen=True):
    """A setting of the service: its name in the file, its value as it was written, and who says so.

    A `live` one can be changed while the service runs.
    """

    name: str
    value: str
    origin: str
    live: bool
    about: str = ""


class Upkeep(Protocol):
    """The verbs. Every one raises `StoreError` or `RunError`."""

    async def fits(self, model: str) -> Sequence[Fit]:
        """Say at which contexts a model fits the memory, smallest first; none where that is not known."""
        ...

    async def plan_load(self, model: str) -> LoadPlan:
        """Say what loading a model now would put out of memory, without loading it."""
        ...

    async def plan_pull(self, model: str, *, insecure: bool = False) -> PullPlan:
        """Say what a pull would fetch, without fetching it."""
        ...

    async def unfinished_pulls(self) -> Sequence[UnfinishedPull]:
        """Return the pulls that can be taken up again, oldest first; pulling the same goes on where it was left."""
        ...

    async def drop_unfinished(self, model: str) -> int:
        """Remove what came of a pull that was left; returns the bytes freed."""
        ...

    def verify(self, model: str, *, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        """Read every byte of a model again; raises `StoreError` where they are not what they should be."""
        ...

    async def plan_cleanup(self) -> Cleanup:
        """Say what a clean-up would remove."""
        ...

    async def clean_up(self) -> int:
        """Remove the files that no model needs, and empty the trash; returns the bytes freed."""
        ...

    async def trash(self, models: Sequence[str]) -> Sequence[str]:
        """Delete models so that `restore` brings them back, for as long as a plan says; returns their names.

        Raises:
            NotSupported: nothing is kept here.
        """
        ...

    async def restore(self) -> Sequence[str]:
        """Bring back what was deleted last and lies in the trash; returns the names, none where nothing lies there.

        Raises:
            CannotRestore: a model of that name is there again, or parts of it are gone.
        """
        ...

    async def settings(self) -> Sequence[SettingView]:
        """Return the settings of the service, with where each comes from; secrets are not told."""
        ...

    async def adjust(self, name: str, value: str) -> SettingsChange:
        """Change a setting until the service ends; "" gives back what environment and file say.

        Raises:
            BadRequest: there is no such setting, or its value cannot be read.
        """
        ...
