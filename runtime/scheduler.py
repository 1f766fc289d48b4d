"""Which runners exist: loads on demand, shares what is loaded, keeps it alive, makes room, refuses.

Owned by the service loop; nothing here knows llama.cpp or HTTP. A model is keyed by the digests of its weights
and adapters, so two names of one file share a runner. A loaded model serves any request whose context is not larger
than its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter

from corral.runtime.engine import protocol
from corral.runtime.errors import LoadFailed, QueueFull, RunError
from corral.runtime.events import Events
from corral.runtime.runner import Runner
from corral.runtime.snapshot import LoadCounts, ModelState
from corral.runtime.verbs import FOREVER


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model as a request wants it loaded. `explicit` names the load options the request or the model set itself."""

    name: str
    digest: str
    load: protocol.Load
    explicit: frozenset[str] = frozenset()


@dataclass(eq=False)
class Resident:
    """A model in memory or on its way there. `users` counts requests on it, `names` are those it was
    asked for by, `ready` resolves when it can serve.
    """

    wanted: Wanted
    ready: asyncio.Future[Runner]
    names: dict[str, None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    runner: Runner | None = None
    users: int = 0
    keep_alive_s: float = 300.0
    expires_at: float = FOREVER
    timer: asyncio.TimerHandle | None = None
    stopping: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> ModelState:
        """What it is doing, in the words of the screen."""
        if self.stopping:
            return ModelState.STOPPING
        if not self.ready.done():
            return ModelState.LOADING
        return ModelState.BUSY if self.users else ModelState.IDLE


@dataclass(frozen=True, slots=True)
class Lease:
    """A request's hold on a loaded model: it stays until the lease is given back. `load_ns` is what the wait took."""

    runner: Runner
    load_ns: int


class Scheduler:
    """Holds the runners. `take_runner` gives a started child, `clock` is monotonic seconds."""

    def __init__(
        self,
        take_runner: Callable[[], Awaitable[Runner]],
        events: Events,
        clock: Callable[[], float],
        *,
        max_loaded: int,
        max_queue: int,
        load_timeout_s: float,
    ) -> None:
        self._take_runner = take_runner
        self._events = events
        self._clock = clock
        self._max_loaded = max_loaded
        self._max_queue = max_queue
        self._load_timeout_s = load_timeout_s
        self._residents: dict[str, Resident] = {}
        self._queue: OrderedDict[object, str] = OrderedDict()
        self._changed = asyncio.Event()
        self._stops: set[asyncio.Task[None]] = set()
        self._closed = False
        self.counts = LoadCounts()

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Everything in memory or on its way there."""
        return tuple(self._residents.values())

    def find(self, digest: str) -> Resident | None:
        """The resident of these weights."""
        return self._residents.get(digest)

    def load_fraction(self, digest: str) -> float | None:
        """How much of a model that is asked for is loaded, 0..1; None where it is loaded already."""
        resident = self.find(digest)
        if resident is not None and resident.ready.done():
            return None
        return resident.runner.load_fraction if resident is not None and resident.runner is not None else 0.0

    def waiting(self, digest: str | None = None) -> int:
        """How many requests wait for room, for one model or for any."""
        return len(self._queue) if digest is None else sum(one == digest for one in self._queue.values())

    @asynccontextmanager
    async def lease(self, wanted: Wanted, keep_alive_s: float) -> AsyncIterator[Lease]:
        """Hold a model for one request, loading it first where needed.

        Raises:
            QueueFull: too many wait already.
            LoadFailed: it cannot be loaded.
        """
        began = self._clock()
        resident = await self._admit(wanted)
        try:
            runner = await asyncio.shield(resident.ready)
            resident.keep_alive_s = keep_alive_s
            yield Lease(runner, int((self._clock() - began) * 1e9))
        finally:
            self._give_back(resident)

    async def unload(self, digest: str) -> bool:
        """Let a model go as soon as its requests are done; False where it is not in memory."""
        resident = self._residents.get(digest)
        if resident is None or resident.stopping:
            return False
        resident.keep_alive_s = 0.0
        if resident.users == 0:
            self._stop(resident, "asked for")
        return True

    async def close(self) -> None:
        """Stop every runner; requests on them fail."""
        self._closed = True
        for resident in self.residents:
            if not resident.stopping:
                self._stop(resident, "the server stops")
        await asyncio.gather(*self._stops, return_exceptions=True)

    async def _admit(self, wanted: Wanted) -> Resident:
        """Join a resident or become one; first come, first served among those who must wait."""
        ticket = object()
        try:
            while True:
                if self._closed:
                    raise LoadFailed("the server is stopping")
                resident = self._join_or_make(wanted, ticket)
                if resident is not None:
                    resident.users += 1
                    resident.names[wanted.name] = None
                    self._cancel_timer(resident)
                    return resident
                if ticket not in self._queue:
                    if len(self._queue) >= self._max_queue:
                        raise QueueFull(len(self._queue))
                    self._queue[ticket] = wanted.digest
                await self._wait_for_change()
        finally:
            if self._queue.pop(ticket, None) is not None:
                self._signal()

    def _join_or_make(self, wanted: Wanted, ticket: object) -> Resident | None:
        """The resident to use now, or None where something has to end first."""
        resident = self._residents.get(wanted.digest)
        if resident is not None:
            if resident.stopping:
                return None
            if resident.runner is not None and not resident.runner.alive:
                self._stop(resident, "its runner died")
                return None
            reason = reload_reason(resident.wanted, wanted)
            if reason is None:
                return resident
            if resident.users == 0:
                self._stop(resident, f"reload: {reason}")
            return None
        if self._queue and next(iter(self._queue)) is not ticket:
            return None  # somebody who came before waits for room
        if len(self._residents) >= self._max_loaded:
            self._evict_for(wanted)
            return None
        return self._make(wanted)

    def _evict_for(self, wanted: Wanted) -> None:
        if any(one.stopping for one in self._residents.values()):
            return
        idle = [one for one in self._residents.values() if one.users == 0]
        if idle:
            victim = min(idle, key=lambda one: one.expires_at)
            self.counts = replace(self.counts, evictions=self.counts.evictions + 1)
            self._stop(victim, f"evicted for {wanted.name}: {self._max_loaded} models are the limit")

    def _make(self, wanted: Wanted) -> Resident:
        resident = Resident(wanted, asyncio.get_running_loop().create_future())
        self._residents[wanted.digest] = resident
        resident.task = asyncio.create_task(self._load(resident))
        return resident

    async def _load(self, resident: Resident) -> None:
        wanted = resident.wanted
        began = self._clock()
        try:
            resident.runner = await self._take_runner()
            loaded = await resident.runner.load(wanted.load, self._load_timeout_s)
        except asyncio.CancelledError:
            self._fail(resident, LoadFailed("loading was cancelled"))
            raise
        except RunError as error:
            self.counts = replace(self.counts, failures=self.counts.failures + 1)
            self._events.add("load", f"{wanted.name} failed: {error}", "error")
            self._fail(resident, error)
            return
        took_s = self._clock() - began
        self.counts = replace(self.counts, loads=self.counts.loads + 1, load_s=self.counts.load_s + took_s)
        self._events.add(
            "load",
            f"{wanted.name} in {took_s:.1f} s · {loaded.num_cells:,} cells, "
            f"{loaded.num_ctx:,} a request · layers on GPU {loaded.gpu_layers}/{loaded.num_layers}"
            f"{_placed(wanted.load.placement, loaded)}",
        )
        resident.ready.set_result(resident.runner)
        if resident.users == 0:
            self._start_timer(resident)
        self._signal()
        await resident.runner.exited.wait()
        if not resident.stopping:
            self._events.add("crash", f"{wanted.name}: {resident.runner.last_words() or 'no last words'}", "error")
            self._stop(resident, "its runner died")

    def _fail(self, resident: Resident, error: RunError) -> None:
        if not resident.ready.done():
            resident.ready.set_exception(error)
            resident.ready.exception()  # read, so that a load nobody waits for says nothing
        self._stop(resident, "loading failed")

    def _give_back(self, resident: Resident) -> None:
        resident.users -= 1
        if resident.users == 0 and not resident.stopping:
            if not resident.ready.done():
                self._stop(resident, "nobody waits for it any more")
            elif resident.keep_alive_s <= 0:
                self._stop(resident, "keep_alive 0")
            else:
                self._start_timer(resident)
        self._signal()

    def _start_timer(self, resident: Resident) -> None:
        self._cancel_timer(resident)
        resident.expires_at = self._clock() + resident.keep_alive_s
        if resident.keep_alive_s != FOREVER:
            loop = asyncio.get_running_loop()
            why = f"idle for {resident.keep_alive_s:g} s (keep_alive)"
            resident.timer = loop.call_later(resident.keep_alive_s, self._stop, resident, why)

    def _cancel_timer(self, resident: Resident) -> None:
        resident.expires_at = FOREVER
        if resident.timer is not None:
            resident.timer.cancel()
            resident.timer = None

    def _stop(self, resident: Resident, why: str) -> None:
        if resident.stopping:
            return
        self._cancel_timer(resident)
        resident.stopping = True
        stop = asyncio.create_task(self._end(resident, why))
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)

    async def _end(self, resident: Resident, why: str) -> None:
        if resident.task is not None and not resident.ready.done():
            resident.task.cancel()
            await asyncio.gather(resident.task, return_exceptions=True)
        if resident.runner is not None:
            await resident.runner.close()
        del self._residents[resident.wanted.digest]
        resident.gone.set()
        self.counts = replace(self.counts, unloads=self.counts.unloads + (resident.runner is not None))
        self._events.add("unload", f"{resident.wanted.name}: {why}")
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()


def _placed(placement: protocol.Placement, loaded: protocol.Loaded) -> str:
    """What patterns did to the placement, where there are any: a pattern that matches nothing is easily written."""
    told = placement.overrides or placement.cpu_experts
    return f" · {loaded.overridden} tensors placed by pattern" if told else ""


def reload_reason(loaded: Wanted, wanted: Wanted) -> str | None:
    """Which option a loaded model cannot meet, in words; None where it serves as it is.

    Only options the request or the model names itself count, and of contexts only a larger one (spec j is stricter:
    there any difference reloads).
    """
    if wanted.load.num_ctx > loaded.load.num_ctx and "num_ctx" in wanted.explicit:
        return f"num_ctx {loaded.load.num_ctx} -> {wanted.load.num_ctx}"
    if wanted.load.draft_path and wanted.load.draft_path != loaded.load.draft_path:
        return "another draft model"
    for option, attribute in _FIXED_BY_LOAD:
        if option in wanted.explicit:
            before, after = attribute(loaded.load), attribute(wanted.load)
            if before != after:
                return f"{option} {before} -> {after}"
    return None


_FIXED_BY_LOAD: tuple[tuple[str, Callable[[protocol.Load], object]], ...] = (
    ("num_batch", attrgetter("num_batch")),
    ("num_gpu", attrgetter("placement.gpu_layers")),
    ("main_gpu", attrgetter("placement.main_gpu")),
    ("use_mmap", attrgetter("use_mmap")),
    ("num_thread", attrgetter("num_threads")),
    ("num_ubatch", attrgetter("micro_batch")),
    ("num_thread_batch", attrgetter("batch_threads")),
    ("use_mlock", attrgetter("use_mlock")),
    ("use_direct_io", attrgetter("use_direct_io")),
    ("flash_attention", attrgetter("flash_attention")),
    ("kv_cache_type", attrgetter("kv_type", "kv_type_v")),
    ("split_mode", attrgetter("placement.split_mode")),
    ("tensor_split", attrgetter("placement.tensor_split")),
    ("override_tensor", attrgetter("placement.overrides")),
    ("num_cpu_moe", attrgetter("placement.cpu_experts")),
)
