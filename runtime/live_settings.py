"""What the settings have a running workbench do: load models at its start, pin them, read the settings again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from corral.runtime.dispatch import Dispatch
from corral.runtime.errors import BadRequest, RunError
from corral.runtime.events import Events
from corral.runtime.setting_views import LIVE_VARIABLES
from corral.runtime.settings import Settings
from corral.runtime.settings_change import SettingsChange, take_over
from corral.runtime.snapshot import GpuSample
from corral.runtime.upkeep import SettingView
from corral.runtime.variables import BY_NAME
from corral.store.errors import StoreError
from corral.store.retry import RateLimit

MODELS_A_GPU = 3
"""So many models may be in memory where nothing else is said; as many where there is no GPU (spec e)."""


class LiveSettings:
    """Keeps a dispatch's settings. Owned by the service loop."""

    def __init__(self, dispatch: Dispatch, events: Events, limit: RateLimit | None = None) -> None:
        """`limit` is how fast all pulls together may go."""
        self._dispatch = dispatch
        self._events = events
        self.limit = limit or RateLimit(0)
        self._adjusted: dict[str, str] = {}
        self._preloading: asyncio.Task[None] | None = None
        self._gpus_known = asyncio.Event()

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return self._dispatch.settings

    def meet(self, gpus: Sequence[GpuSample]) -> None:
        """Take note of the GPUs there are; how many models fit and how they are loaded depends on them."""
        if not self._gpus_known.is_set():
            if not self._dispatch.settings.max_loaded_models:
                self._dispatch.scheduler.max_loaded = MODELS_A_GPU * max(1, len(gpus))
            self._gpus_known.set()

    def preload(self) -> None:
        """Begin to load, one after the other, the models that are to be in memory before anybody asks."""
        names = [name for name, table in self._dispatch.settings.model_tables.items() if table.preload]
        if names and (self._preloading is None or self._preloading.done()):
            self._preloading = asyncio.create_task(self._load(names))

    async def _load(self, names: Sequence[str]) -> None:
        await self._gpus_known.wait()
        dispatch = self._dispatch
        for name in names:
            try:
                model = await dispatch.open(name)
                wanted = dispatch.wanted(model, model.parameters)
                if dispatch.scheduler.find(wanted.digest) is None:
                    async with dispatch.scheduler.lease(wanted, dispatch.keep_alive_s(None, model)):
                        pass
            except (RunError, StoreError) as error:
                self._events.add("load", f"{name} is to be loaded at the start, and cannot be: {error}", "warning")

    async def reload(self) -> SettingsChange:
        """Read the settings again and take over those that a running server can.

        Raises:
            BadRequest: the file has mistakes; nothing has changed.
        """
        reread = self._dispatch.settings.reread
        if reread is None:
            return SettingsChange()
        return self._take_over(await asyncio.to_thread(reread, self._adjusted))

    async def views(self) -> Sequence[SettingView]:
        """See `upkeep.Upkeep.settings`."""
        tell = self._dispatch.settings.tell
        return () if tell is None else await asyncio.to_thread(tell, self._adjusted)

    async def adjust(self, name: str, value: str) -> SettingsChange:
        """See `upkeep.Upkeep`; what was changed so comes before environment and file."""
        reread = self._dispatch.settings.reread
        variable = BY_NAME.get(name.upper())
        if variable is None or reread is None:
            raise BadRequest(f"there is no setting {name}")
        if variable.name not in LIVE_VARIABLES:
            raise BadRequest(f"{name} needs a restart: put it into config.toml or the environment")
        adjusted = {key: text for key, text in self._adjusted.items() if key != f"CORRAL_{variable.name}"}
        before = await asyncio.to_thread(reread, adjusted)
        if value:
            adjusted[f"CORRAL_{variable.name}"] = value
        new = await asyncio.to_thread(reread, adjusted)
        if wrong := [one for one in new.warnings if one not in before.warnings]:
            raise BadRequest("; ".join(wrong))
        change = self._take_over(new)
        self._adjusted = adjusted
        return change

    def _take_over(self, new: Settings) -> SettingsChange:
        dispatch = self._dispatch
        dispatch.settings, change = take_over(dispatch.settings, new)
        self.limit.change(dispatch.settings.limit_rate)
        dispatch.library.call(dispatch.settings.aliases)
        tables = dispatch.settings.model_tables
        dispatch.scheduler.pin_named(frozenset(name for name, table in tables.items() if table.pinned))
        for warning in change.warnings:
            self._events.add("server", warning, "warning")
        self._events.add("server", f"settings read again: {', '.join(change.changed) or 'nothing new'}")
        self.preload()
        return change

    async def close(self) -> None:
        """Stop loading."""
        if self._preloading is not None:
            self._preloading.cancel()
            await asyncio.gather(self._preloading, return_exceptions=True)
