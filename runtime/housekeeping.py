"""What a server clears away when it starts: what nobody needs any more, and what killed processes left (spec h.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from corral.runtime.engine.shelf import forget_models
from corral.runtime.events import Events
from corral.store import plans
from corral.store.catalog import Catalog
from corral.store.disk import megabytes
from corral.store.errors import StoreError
from corral.store.paths import StorePaths
from corral.store.scratch import sweep

EMPTYING_EVERY_S = 600.0
"""How late a deletion in the trash may be carried out."""


async def tidy(paths: StorePaths, catalog: Catalog, events: Events, prompt_cache: Path | None) -> None:
    """Clear the store up in a thread, and say what that freed. A store that refuses is a warning, never a failure."""
    try:
        freed = await asyncio.to_thread(_tidy, paths, catalog)
        await asyncio.to_thread(forget_sequences, paths, prompt_cache)
    except (StoreError, OSError) as error:
        events.add("delete", f"the model folder was not tidied up: {error}", "warning")
    else:
        if freed:
            events.add("delete", f"files that no model needs: freed {megabytes(freed)}")


async def keep_emptying(
    empty: Callable[[], Awaitable[int]], paths: StorePaths, events: Events, prompt_cache: Path | None
) -> None:
    """Have the trash emptied of what has been there long enough, now and again, until cancelled."""
    while True:
        try:
            freed = await empty()
            if freed:
                await asyncio.to_thread(forget_sequences, paths, prompt_cache)
                events.add("delete", f"deleted for good what was in the trash: freed {megabytes(freed)}")
        except (StoreError, OSError) as error:
            events.add("delete", f"the trash was not emptied: {error}", "warning")
        await asyncio.sleep(EMPTYING_EVERY_S)


def forget_sequences(paths: StorePaths, prompt_cache: Path | None) -> None:
    """Delete what models read that are no longer here. Raises OSError."""
    if prompt_cache is not None and prompt_cache.is_dir():
        forget_models(prompt_cache, besides=[path.name for path in paths.blobs.glob("*")])


def _tidy(paths: StorePaths, catalog: Catalog) -> int:
    sweep(paths.root)
    plan = plans.plan_prune(catalog.scan())
    # The lock that execution takes would make the folder of a store that isn't there yet.
    return plans.execute(plan) if plan.files else 0
