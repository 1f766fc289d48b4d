"""What a server clears away when it starts: what nobody needs any more, and what killed processes left (spec h.4)."""

from __future__ import annotations

import asyncio

from corral.runtime.events import Events
from corral.store import plans
from corral.store.catalog import Catalog
from corral.store.disk import megabytes
from corral.store.errors import StoreError
from corral.store.paths import StorePaths
from corral.store.scratch import sweep


async def tidy(paths: StorePaths, catalog: Catalog, events: Events) -> None:
    """Clear the store up in a thread, and say what that freed. A store that refuses is a warning, never a failure."""
    try:
        freed = await asyncio.to_thread(_tidy, paths, catalog)
    except (StoreError, OSError) as error:
        events.add("delete", f"the model folder was not tidied up: {error}", "warning")
    else:
        if freed:
            events.add("delete", f"files that no model needs: freed {megabytes(freed)}")


def _tidy(paths: StorePaths, catalog: Catalog) -> int:
    sweep(paths.root)
    plan = plans.plan_prune(catalog.scan())
    # The lock that execution takes would make the folder of a store that isn't there yet.
    return plans.execute(plan) if plan.files else 0
