"""What loading a model now would push out, by the rules of the scheduler, without loading it."""

from __future__ import annotations

from corral.runtime.forecast import gib
from corral.runtime.residents import Resident, Wanted
from corral.runtime.scheduler import Scheduler
from corral.runtime.upkeep import Eviction, LoadPlan


def plan_load(scheduler: Scheduler, wanted: Wanted) -> LoadPlan:
    """Say which models would go for `wanted`, the first one first.

    Walks through `Scheduler._make_room`'s choices: as long as there are too many models or too little memory, the
    one worth least goes, idle ones before those that have work.
    """
    if scheduler.find(wanted.digest) is not None:
        return LoadPlan(wanted.name, wanted.forecast.total, in_memory=True)
    leaving = scheduler.leaving()
    may_go = [*(one for one in leaving if not one[0].users), *(one for one in leaving if one[0].users)]
    count, lacks = len(scheduler.residents), scheduler.lacking(wanted)
    evicts: list[Eviction] = []
    for resident, reason in may_go:
        if count < scheduler.max_loaded and lacks <= 0:
            break
        limit = f"{scheduler.max_loaded} models are the limit"
        why = limit if count >= scheduler.max_loaded else f"{gib(lacks)} more memory are needed"
        evicts.append(Eviction(resident.wanted.name, _held(resident), why, reason, resident.users > 0))
        count -= 1
        lacks -= resident.wanted.forecast.ram
    return LoadPlan(
        wanted.name,
        wanted.forecast.total,
        tuple(evicts),
        stays=tuple(one.wanted.name for one in scheduler.residents if one.pinned),
        has_room=count < scheduler.max_loaded and lacks <= 0,
    )


def _held(resident: Resident) -> int:
    """Bytes it takes, or is thought to take while it loads."""
    loaded = resident.runner.loaded if resident.runner is not None else None
    if loaded is None:
        return resident.wanted.forecast.total
    return loaded.weights_bytes + loaded.kv_bytes + loaded.compute_bytes
