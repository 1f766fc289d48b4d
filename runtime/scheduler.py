"""Which runners exist: loads on demand, shares what is loaded, keeps it alive, makes room, refuses.

Owned by the service loop; nothing here knows llama.cpp or HTTP. A model is keyed by the digests of its weights
and adapters, so two names of one file share a runner. A loaded model serves any request whose context is not larger
than its own.

Nobody waits for ever. Requests for a loaded model pass those who wait for room, because that saves loads, but only
until the first of the line has waited `patience_s`: then a model takes no more requests, ends those it has, and goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from corral.runtime.crashes import Crashes
from corral.runtime.engine import protocol
from corral.runtime.errors import LoadFailed, QueueFull, RunError, TooLittleMemory
from corral.runtime.events import Events
from corral.runtime.evict import LoadTimeSaved, Policy
from corral.runtime.forecast import context_that_fits, gib
from corral.runtime.heartbeat import keep_listening
from corral.runtime.reload import grown, reload_reason
from corral.runtime.residents import Lease, Resident, Wanted
from corral.runtime.runner import Runner
from corral.runtime.snapshot import LoadCounts, ModelState
from corral.runtime.verbs import FOREVER
from corral.runtime.waiting_line import Ticket, WaitingLine

PATIENCE_S = 5.0
STAY_LOADS = 4.0
"""A model that was put out and soon wanted again stays so many times what its load took, before the next swap."""
_SOON_S = 60.0
_RETRY_AFTER_S = 60


class Scheduler:
    """Holds the runners. `take_runner` gives a started child, `clock` is monotonic seconds.

    `free_memory` says how many bytes of main memory may be taken, what is mapped from files counting as free; without
    it memory is no matter. `hung_after_s` is how long a runner may say nothing while it has work.
    """

    def __init__(
        self,
        take_runner: Callable[[], Awaitable[Runner]],
        events: Events,
        clock: Callable[[], float],
        *,
        max_loaded: int,
        max_queue: int,
        load_timeout_s: float,
        free_memory: Callable[[], int] | None = None,
        policy: Policy | None = None,
        patience_s: float = PATIENCE_S,
        hung_after_s: float = 30.0,
    ) -> None:
        self._take_runner = take_runner
        self._events = events
        self._clock = clock
        self.max_loaded = max_loaded
        self._max_queue = max_queue
        self._load_timeout_s = load_timeout_s
        self._residents: dict[str, Resident] = {}
        self._free_memory = free_memory
        self._policy = policy or LoadTimeSaved()
        self._patience_s = patience_s
        self._hung_after_s = hung_after_s
        self._line = WaitingLine()
        self._crashes = Crashes()
        self._put_out: dict[str, float] = {}
        self._pins: set[str] = set()
        self._outgrown: dict[str, protocol.Loaded] = {}
        self._held_s: deque[float] = deque(maxlen=32)
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

    def serves(self, wanted: Wanted) -> bool:
        """Say whether a lease would be had at once: the model is there, fits, and takes requests."""
        resident = self._residents.get(wanted.digest)
        if resident is None or resident.runner is None or not resident.ready.done():
            return False
        if resident.stopping or resident.drains or not resident.runner.alive:
            return False
        return reload_reason(resident.wanted, wanted, self._clock() - resident.loaded_at) is None

    def load_fraction(self, digest: str) -> float | None:
        """How much of a model that is asked for is loaded, 0..1; None where it is loaded already."""
        resident = self.find(digest)
        if resident is not None and resident.ready.done():
            return None
        return resident.runner.load_fraction if resident is not None and resident.runner is not None else 0.0

    def waiting(self, digest: str | None = None) -> int:
        """How many requests wait for room, for one model or for any."""
        return len(self._line) if digest is None else self._line.count(digest)

    def tickets(self) -> tuple[Ticket, ...]:
        """Those who wait for a model, the next one first, each with the reason."""
        return tuple(self._line)

    @asynccontextmanager
    async def lease(
        self, wanted: Wanted, keep_alive_s: float, priority: int = 0, request_id: str = ""
    ) -> AsyncIterator[Lease]:
        """Hold a model for one request, loading it first where needed; `request_id` names it among those who wait.

        Raises:
            QueueFull: too many wait already.
            LoadFailed: it cannot be loaded.
            KeepsDying: its runner died too often of late.
        """
        began = self._clock()
        resident = await self._admit(wanted, priority, request_id)
        try:
            runner = await asyncio.shield(resident.ready)
            resident.keep_alive_s = keep_alive_s
            held_since = self._clock()
            yield Lease(runner, resident.wanted.load, int((held_since - began) * 1e9))
            self._held_s.append(self._clock() - held_since)
        finally:
            self._give_back(resident)

    async def unload(self, digest: str) -> bool:
        """Let a model go as soon as its requests are done; False where it is not in memory."""
        resident = self._residents.get(digest)
        if resident is None or resident.stopping:
            return False
        self.pin(digest, pinned=False)
        resident.keep_alive_s = 0.0
        if resident.users == 0:
            self._stop(resident, "asked for")
        return True

    def pin_named(self, names: frozenset[str]) -> None:
        """Say which models in memory are never put out for others, by their names in lower case."""
        for digest, resident in self._residents.items():
            resident.wanted = replace(
                resident.wanted, pinned=resident.wanted.name.lower() in names or digest in self._pins
            )
        self._signal()

    def pin(self, digest: str, *, pinned: bool) -> bool:
        """Keep a model whoever else wants room, and for ever, or no longer; False where it is not in memory."""
        resident = self._residents.get(digest)
        if resident is None or resident.stopping:
            return False
        if pinned:
            self._pins.add(digest)
        else:
            self._pins.discard(digest)
        resident.wanted = replace(resident.wanted, pinned=pinned)
        if resident.state is ModelState.IDLE:
            self._start_timer(resident)
        return True

    def leaving(self) -> tuple[tuple[Resident, str], ...]:
        """Those that may be put out to make room, in that order, each with what its place comes from."""
        now = self._clock()
        may_go = sorted((one for one in self.residents if not one.pinned), key=lambda one: self._policy.worth(one, now))
        return tuple((one, self._policy.reason(one, now)) for one in may_go)

    def lacking(self, wanted: Wanted) -> int:
        """How much memory is missing for a model, beside what those here still will take or read again."""
        if self._free_memory is None:
            return 0
        held = sum(
            one.wanted.forecast.mapped_ram if one.ready.done() else one.wanted.forecast.ram for one in self.residents
        )
        return wanted.forecast.ram - (self._free_memory() - held)

    async def close(self) -> None:
        """Stop every runner; requests on them fail."""
        self._closed = True
        for resident in self.residents:
            if not resident.stopping:
                self._stop(resident, "the server stops")
        await asyncio.gather(*self._stops, return_exceptions=True)

    async def _admit(self, wanted: Wanted, priority: int, request_id: str) -> Resident:
        """Join a resident or become one; first come, first served among those who must wait."""
        ticket = Ticket(wanted.digest, wanted.name, self._clock(), priority, request_id=request_id)
        self._policy.used(wanted.digest, ticket.since)
        self._refuse_when_full(wanted)
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
                if ticket not in self._line:
                    self._line.join(ticket)
                await self._wait_for_change(ticket)
        finally:
            if self._line.leave(ticket):
                if not any(self._has_waited(one) for one in self._line):
                    for resident in self.residents:
                        resident.drains = False
                self._signal()

    def _refuse_when_full(self, wanted: Wanted) -> None:
        """Count those who wait for room and those who wait for a busy model."""
        waiting = len(self._line) + sum(one.waiting for one in self.residents)
        if waiting < self._max_queue:
            return
        resident = self._residents.get(wanted.digest)
        if resident is not None and resident.has_free_slot:
            return
        usual_s = sum(self._held_s) / len(self._held_s) if self._held_s else 1.0
        slots = sum(one.wanted.load.num_sequences for one in self.residents) or 1
        raise QueueFull(waiting, max(1, min(_RETRY_AFTER_S, round(usual_s * waiting / slots))))

    def _join_or_make(self, wanted: Wanted, ticket: Ticket) -> Resident | None:
        """The resident to use now, or None where something has to end first."""
        resident = self._residents.get(wanted.digest)
        if resident is not None:
            return self._join(resident, wanted, ticket)
        if not self._line.is_next(ticket):
            ticket.reason = "others came first"
            return None
        self._crashes.check(wanted.digest, wanted.name, self._clock())
        if len(self._residents) >= self.max_loaded:
            self._make_room(ticket, f"{self.max_loaded} models are the limit")
            return None
        lacks = self.lacking(wanted)
        if lacks > 0:
            others = [one for one in self.residents if not one.pinned]
            if others or any(one.stopping for one in self.residents):
                self._make_room(ticket, f"{gib(lacks)} more memory are needed")
                return None
            self._refuse_too_large(wanted)
        return self._make(wanted)

    def _join(self, resident: Resident, wanted: Wanted, ticket: Ticket) -> Resident | None:
        if resident.stopping:
            ticket.reason = "the model is being unloaded"
            return None
        if resident.runner is not None and not resident.runner.alive:
            self._stop(resident, "its runner died")
            return None
        if resident.drains and ticket not in self._line:
            ticket.reason = "others have waited long for room"
            return None
        age_s = self._clock() - resident.loaded_at if resident.ready.done() else 0.0
        reason = reload_reason(resident.wanted, wanted, age_s)
        if reason is None:
            return None if resident.drains else resident
        ticket.reason = f"reload: {reason}"
        if resident.users == 0:
            if resident.runner is not None and resident.runner.loaded is not None:
                self._outgrown[wanted.digest] = resident.runner.loaded
            self._stop(resident, f"reload: {reason}")
        elif self._has_waited(ticket):
            resident.drains = True
        return None

    def _has_waited(self, ticket: Ticket) -> bool:
        return self._clock() - ticket.since >= self._patience_s

    def _make_room(self, ticket: Ticket, why: str) -> None:
        """Put out the model that is worth least; where all have work, wait, and at last let one end its own."""
        ticket.reason = why
        if any(one.stopping for one in self.residents):
            return
        now = self._clock()
        candidates = [resident for resident, _ in self.leaving()]
        waited = self._has_waited(ticket)
        for victim in candidates:
            # One that is worth less and will soon have done its work goes rather than one that will be missed.
            spared = victim is not candidates[0] and now - ticket.since < victim.load_s
            if victim.users == 0 and (waited or (now >= victim.stays_until and not spared)):
                self._put_out[victim.wanted.digest] = now
                self.counts = msgspec.structs.replace(self.counts, evictions=self.counts.evictions + 1)
                self._stop(victim, f"evicted for {ticket.name}: {why}")
                return
        if waited and candidates and not any(one.drains for one in candidates):
            loaded = [one for one in candidates if one.ready.done()]
            if loaded:
                loaded[0].drains = True
                self._events.add("queue", f"{loaded[0].wanted.name} takes no more requests: {ticket.name} has waited")

    def _refuse_too_large(self, wanted: Wanted) -> None:
        """Refuse a model that cannot be there at all; one whose mapped weights do not fit is slow, and is told so."""
        assert self._free_memory is not None
        free, expected = self._free_memory(), wanted.forecast
        if expected.fixed_ram > free:
            fits = context_that_fits(expected, wanted.load.num_ctx, free)
            hint = f"; num_ctx {fits} would fit" if fits else ""
            raise TooLittleMemory(f"{wanted.name} needs {gib(expected.ram)}, {gib(free)} are free{hint}")
        self._events.add(
            "load",
            f"{wanted.name} needs {gib(expected.ram)}, {gib(free)} are free: it will be read from disk again and again",
            "warning",
        )

    def _make(self, wanted: Wanted) -> Resident:
        outgrown = self._outgrown.pop(wanted.digest, None)
        wanted = grown(wanted, outgrown) if outgrown is not None else wanted
        wanted = replace(wanted, pinned=wanted.pinned or wanted.digest in self._pins)
        resident = Resident(wanted, asyncio.get_running_loop().create_future(), began=self._clock())
        self._residents[wanted.digest] = resident
        resident.task = asyncio.create_task(self._load(resident))
        return resident

    async def _load(self, resident: Resident) -> None:
        wanted = resident.wanted
        try:
            runner, loaded = await self._load_or_shrink(resident)
        except asyncio.CancelledError:
            self._fail(resident, LoadFailed("loading was cancelled"))
            raise
        except RunError as error:
            self.counts = msgspec.structs.replace(self.counts, failures=self.counts.failures + 1)
            self._events.add("load", f"{wanted.name} failed: {error}", "error")
            self._fail(resident, error)
            return
        now = self._clock()
        resident.loaded_at, resident.load_s = now, now - resident.began
        self.counts = msgspec.structs.replace(
            self.counts, loads=self.counts.loads + 1, load_s=self.counts.load_s + resident.load_s
        )
        if now - self._put_out.pop(wanted.digest, -FOREVER) < _SOON_S:
            resident.stays_until = now + STAY_LOADS * resident.load_s
        self._events.add(
            "load",
            f"{wanted.name} in {resident.load_s:.1f} s · {loaded.num_cells:,} cells, "
            f"{loaded.num_ctx:,} a request · layers on GPU {loaded.gpu_layers}/{loaded.num_layers}"
            f"{_placed(wanted.load.placement, loaded)}",
        )
        resident.ready.set_result(runner)
        if resident.users == 0:
            self._start_timer(resident)
        self._signal()
        listening = asyncio.create_task(keep_listening(runner, self._clock, self._hung_after_s))
        await runner.exited.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        if not resident.stopping:
            words = runner.last_words() or "no last words"
            self._events.add("crash", f"{wanted.name}: {words}", "error")
            self._crashes.add(wanted.digest, self._clock(), words)
            self._stop(resident, "its runner died")

    async def _load_or_shrink(self, resident: Resident) -> tuple[Runner, protocol.Loaded]:
        """Load; where memory was too little for that, once more with the smallest cache, and alone."""
        wanted = resident.wanted
        resident.runner = runner = await self._take_runner()
        try:
            return runner, await runner.load(wanted.load, self._load_timeout_s)
        except LoadFailed as error:
            if not error.out_of_memory:
                raise
            first = error
        await runner.close()
        small = wanted.load.num_ctx if "num_ctx" in wanted.explicit else max(1024, wanted.load.num_ctx // 2)
        small = min(small, wanted.load.num_ctx)
        self._events.add("load", f"{wanted.name}: {first}; trying again with a context of {small:,}", "warning")
        idle = [one for one in self.residents if one is not resident and one.users == 0 and not one.pinned]
        for other in idle:
            self._stop(other, f"evicted for {wanted.name}: memory was too little")
        for other in idle:
            await other.gone.wait()
        resident.wanted = replace(wanted, load=msgspec.structs.replace(wanted.load, num_ctx=small, num_cells=small))
        resident.runner = runner = await self._take_runner()
        try:
            return runner, await runner.load(resident.wanted.load, self._load_timeout_s)
        except LoadFailed as error:
            if error.out_of_memory:
                free = f", {gib(self._free_memory())} are free" if self._free_memory is not None else ""
                raise TooLittleMemory(f"{wanted.name} needs {gib(wanted.forecast.total)}{free}: {error}") from None
            raise

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
            elif resident.keep_alive_s <= 0 and not resident.pinned:
                self._stop(resident, "keep_alive 0")
            else:
                self._start_timer(resident)
        self._signal()

    def _start_timer(self, resident: Resident) -> None:
        self._cancel_timer(resident)
        if resident.pinned:
            return
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
        self.counts = msgspec.structs.replace(self.counts, unloads=self.counts.unloads + (resident.runner is not None))
        self._events.add("unload", f"{resident.wanted.name}: {why}")
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self, ticket: Ticket) -> None:
        """Wait for something to end, or for a time from which on it may."""
        now = self._clock()
        times = [ticket.since + self._patience_s]
        times += [time for one in self.residents for time in (one.stays_until, ticket.since + one.load_s)]
        ahead = [time - now for time in times if time > now]
        changed = self._changed
        try:
            async with asyncio.timeout(min(ahead) if ahead else None):
                await changed.wait()
        except TimeoutError:
            return


def _placed(placement: protocol.Placement, loaded: protocol.Loaded) -> str:
    """What patterns did to the placement, where there are any: a pattern that matches nothing is easily written."""
    told = placement.overrides or placement.cpu_experts
    return f" · {loaded.overridden} tensors placed by pattern" if told else ""
