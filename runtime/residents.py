"""A model as somebody wants it, and a model in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from corral.runtime.engine import protocol
from corral.runtime.forecast import Forecast
from corral.runtime.runner import Runner
from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import FOREVER


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model as a request wants it loaded. `explicit` names the load options the request or the model set itself.

    `forecast` is what memory it will take. A `pinned` one is never put out to make room.
    """

    name: str
    digest: str
    load: protocol.Load
    explicit: frozenset[str] = frozenset()
    forecast: Forecast = field(default_factory=Forecast)
    pinned: bool = False


@dataclass(eq=False)
class Resident:
    """A model in memory or on its way there. `users` counts requests on it, `names` are those it was
    asked for by, `ready` resolves when it can serve.

    It was wanted at `began`, and could serve at `loaded_at` after `load_s`; seconds. Until `stays_until` it makes no
    room for those who have not waited long. Where `drains`, somebody has waited long for it to end.
    """

    wanted: Wanted
    ready: asyncio.Future[Runner]
    began: float = 0.0
    names: dict[str, None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    runner: Runner | None = None
    users: int = 0
    keep_alive_s: float = 300.0
    expires_at: float = FOREVER
    timer: asyncio.TimerHandle | None = None
    stopping: bool = False
    drains: bool = False
    load_s: float = 0.0
    loaded_at: float = 0.0
    stays_until: float = 0.0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> ModelState:
        """What it is doing, in the words of the screen."""
        if self.stopping:
            return ModelState.STOPPING
        if not self.ready.done():
            return ModelState.LOADING
        return ModelState.BUSY if self.users else ModelState.IDLE

    @property
    def pinned(self) -> bool:
        """Whether it stays whoever else wants room."""
        return self.wanted.pinned

    @property
    def slots(self) -> int:
        """How many requests it can run side by side; 0 before it is loaded."""
        loaded = self.runner.loaded if self.runner is not None else None
        return loaded.num_sequences if loaded is not None else 0

    @property
    def waiting(self) -> int:
        """How many of its requests wait for a slot."""
        return max(0, self.users - self.slots) if self.slots else 0

    @property
    def has_free_slot(self) -> bool:
        """Whether one more request need not wait."""
        return self.users < self.slots and not self.stopping


@dataclass(frozen=True, slots=True)
class Lease:
    """A request's hold on a loaded model: it stays until the lease is given back.

    `load` is how it was loaded, `load_ns` what the wait took.
    """

    runner: Runner
    load: protocol.Load
    load_ns: int
