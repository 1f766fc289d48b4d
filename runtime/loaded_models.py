"""The models in memory as `ps` lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from corral.runtime.library import Library, details
from corral.runtime.residents import Resident
from corral.runtime.snapshot import ModelState
from corral.runtime.verbs import FOREVER, LoadedModel
from corral.store.errors import StoreError


async def loaded_models(library: Library, residents: Iterable[Resident], now: float) -> Sequence[LoadedModel]:
    """Return those that can serve, longest remaining first; `now` is the clock of their expiry in seconds."""
    views = [await _view(library, one, now) for one in residents if one.ready.done()]
    far = datetime.max.replace(tzinfo=datetime.now().astimezone().tzinfo)
    return sorted((one for one in views if one is not None), key=lambda one: one.expires_at or far, reverse=True)


async def _view(library: Library, resident: Resident, now: float) -> LoadedModel | None:
    runner = resident.runner
    if runner is None or runner.loaded is None:
        return None
    try:
        model = await library.open(resident.wanted.name)
    except StoreError:
        return None  # removed or renamed while it runs; it goes when its requests are done
    size = runner.loaded.weights_bytes + runner.loaded.kv_bytes + runner.loaded.compute_bytes
    remaining = resident.keep_alive_s
    if resident.state is ModelState.IDLE:
        remaining = resident.expires_at - now
    elif resident.state is ModelState.STOPPING:
        remaining = -1.0
    forever = remaining == FOREVER or remaining > timedelta(days=3650).total_seconds()
    return LoadedModel(
        name=resident.wanted.name,
        digest=model.digest,
        size=size,
        size_vram=min(size, runner.loaded.vram_bytes),
        details=details(model.config, model.header),
        context_length=runner.loaded.num_ctx,
        expires_at=None if forever else datetime.now().astimezone() + timedelta(seconds=remaining),
    )
