"""The verbs of looking after a store over HTTP. Of what only Corral tells, an Ollama server gives nothing or n/a."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from corral.api import wire
from corral.api.transport import Transport
from corral.runtime.errors import NotSupported, RemoteFailed, ServerUnreachable
from corral.runtime.settings_change import SettingsChange
from corral.runtime.upkeep import Cleanup, Fit, LoadPlan, PullPlan, SettingView, UnfinishedPull
from corral.runtime.verbs import Caller, DeletePlan, LoadedModel, ModelSummary, Progress
from corral.store.errors import ModelNotFound
from corral.store.names import ModelName

T = TypeVar("T")


class _Fits(msgspec.Struct, frozen=True):
    fits: tuple[Fit, ...] = ()


class _Pulls(msgspec.Struct, frozen=True):
    pulls: tuple[UnfinishedPull, ...] = ()


class _Freed(msgspec.Struct, frozen=True):
    freed: int = 0


class _Models(msgspec.Struct, frozen=True):
    models: tuple[str, ...] = ()


class _Pinned(msgspec.Struct, frozen=True):
    pinned: bool = False


class _Settings(msgspec.Struct, frozen=True):
    settings: tuple[SettingView, ...] = ()


class HttpUpkeep(ABC):
    """Implements `upkeep.Upkeep` for `client.HttpClient`, which has the connection."""

    _server: Transport

    @abstractmethod
    async def list_models(self) -> Sequence[ModelSummary]:
        """Return the models on the server's disk, newest first."""

    @abstractmethod
    async def loaded(self) -> Sequence[LoadedModel]:
        """Return the models in the server's memory."""

    async def fits(self, model: str) -> Sequence[Fit]:
        """Say at which contexts a model fits the server's memory; of an Ollama server that is not known."""
        call = self._server.call("POST", "/api/fits", _Fits, {"model": model}, model=model)
        return (await _unless_told(call, _Fits())).fits

    async def plan_load(self, model: str) -> LoadPlan:
        """Say what loading a model now would put out. Raises NotSupported where the server does not tell."""
        return await _told(self._server.call("POST", "/api/plan/load", LoadPlan, {"model": model}, model=model))

    async def plan_pull(self, model: str, *, insecure: bool = False) -> PullPlan:
        """Say what a pull would fetch. Raises NotSupported where the server tells only while it pulls."""
        body = {"model": model, "insecure": insecure}
        return await _told(self._server.call("POST", "/api/plan/pull", PullPlan, body))

    async def plan_delete(self, models: Sequence[str]) -> DeletePlan:
        """Say what deleting these would free; of an Ollama server at most, it doesn't tell what others share."""
        try:
            return await self._server.call("POST", "/api/plan/delete", DeletePlan, {"models": list(models)})
        except RemoteFailed as error:
            if not _is_no_route(error):
                raise
        return await self._guessed_delete(models)

    async def _guessed_delete(self, models: Sequence[str]) -> DeletePlan:
        on_disk = {ModelName.parse(one.name).key: one for one in await self.list_models()}
        found = []
        for model in models:
            summary = on_disk.get(ModelName.parse(model).key)
            if summary is None:
                raise ModelNotFound(model)
            found.append(summary)
        in_memory = {one.name for one in await self.loaded()}
        return DeletePlan(
            models=tuple(one.name for one in found),
            frees=sum(one.size for one in found),
            keeps=0,
            in_memory=tuple(one.name for one in found if one.name in in_memory),
        )

    async def unfinished_pulls(self) -> Sequence[UnfinishedPull]:
        """Return the pulls that were left; an Ollama server tells of none, pulling again goes on with them."""
        return (await _unless_told(self._server.call("GET", "/api/pulls", _Pulls), _Pulls())).pulls

    async def drop_unfinished(self, model: str) -> int:
        """Remove what came of a pull that was left. Raises NotSupported where the server has no way to."""
        return (await _told(self._server.call("DELETE", "/api/pulls", _Freed, {"model": model}))).freed

    async def verify(self, model: str, *, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        """Have the server read every byte of a model again. Raises NotSupported where it has no way to."""
        body: Mapping[str, object] = {"model": model}
        last = ""
        try:
            async with aclosing(self._server.lines("/api/verify", wire.ProgressLine, body, model=model)) as lines:
                async for line in lines:
                    last = line.status
                    yield line.to_progress()
        except RemoteFailed as error:
            raise (_not_told() if _is_no_route(error) else error) from None
        if last != "success":
            raise ServerUnreachable("the server went away before the job was done")

    async def plan_cleanup(self) -> Cleanup:
        """Say what a clean-up would remove. Raises NotSupported where the server does not tell."""
        return await _told(self._server.call("GET", "/api/orphans", Cleanup))

    async def clean_up(self) -> int:
        """Remove what no model needs and empty the trash. Raises NotSupported where the server has no way to."""
        return (await _told(self._server.call("DELETE", "/api/orphans", _Freed))).freed

    async def trash(self, models: Sequence[str]) -> Sequence[str]:
        """Delete models so that they can be restored. Raises NotSupported where the server keeps nothing."""
        return (await _told(self._server.call("POST", "/api/trash", _Models, {"models": list(models)}))).models

    async def restore(self) -> Sequence[str]:
        """Bring back what was deleted last; on an Ollama server nothing can be."""
        return (await _unless_told(self._server.call("POST", "/api/trash/restore", _Models, {}), _Models())).models

    async def pin(self, model: str, *, pinned: bool) -> None:
        """Keep a model whoever else wants room; an Ollama server only for ever, others may still put it out there."""
        try:
            await self._server.call("POST", "/api/pin", _Pinned, {"model": model, "pinned": pinned}, model=model)
        except RemoteFailed as error:
            if not _is_no_route(error):
                raise
            body: dict[str, object] = {"model": model, "stream": False, **({"keep_alive": -1} if pinned else {})}
            await self._server.call("POST", "/api/generate", wire.AnswerLine, body, model=model)

    async def settings(self) -> Sequence[SettingView]:
        """Return the settings of the service; an Ollama server tells none."""
        return (await _unless_told(self._server.call("GET", "/api/config", _Settings), _Settings())).settings

    async def adjust(self, name: str, value: str) -> SettingsChange:
        """Change a setting until the service ends. Raises NotSupported where the server has no way to."""
        body = {"name": name, "value": value}
        change = await _told(self._server.call("POST", "/api/config", wire.SettingsChangeWire, body))
        return SettingsChange(change.changed, change.restart, change.warnings)


def _is_no_route(error: RemoteFailed) -> bool:
    """Whether the server does not know what it was asked for, as one that is not Corral does not."""
    return error.status in (404, 405)


def _not_told() -> NotSupported:
    return NotSupported("n/a: this server is no Corral, or an older one, and has no way to tell")


async def _told(call: Awaitable[T]) -> T:
    try:
        return await call
    except RemoteFailed as error:
        if _is_no_route(error):
            raise _not_told() from None
        raise


async def _unless_told(call: Awaitable[T], instead: T) -> T:
    try:
        return await call
    except RemoteFailed as error:
        if _is_no_route(error):
            return instead
        raise
