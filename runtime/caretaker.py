"""Looking after the models of this process's store: implements `upkeep.Upkeep`, and remembers pulls that are left."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from msgspec import structs

from corral.runtime.dispatch import Dispatch
from corral.runtime.errors import NotSupported
from corral.runtime.forecast import Forecast
from corral.runtime.model_views import DeletePlan
from corral.runtime.room import plan_load
from corral.runtime.snapshot import GpuSample
from corral.runtime.upkeep import Cleanup, Fit, LoadPlan, PullPlan, Trashed, UnfinishedPull
from corral.store import plans, trash
from corral.store.catalog import Catalog, Files
from corral.store.disk import megabytes
from corral.store.errors import DamagedModel, ModelNotFound, NoSpace
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths
from corral.store.progress import Progress
from corral.store.sources.source import Job
from corral.store.unfinished import Note, UnfinishedPulls
from corral.store.verify import Damage, blobs_of, check_blob

CONTEXTS = (8192, 32768, 131072)
"""What a model is tried at, as far as it was made for that much."""


class Caretaker:
    """Owned by the service loop; what reads or writes many bytes happens in threads."""

    def __init__(self, paths: StorePaths, catalog: Catalog, dispatch: Dispatch) -> None:
        self._paths = paths
        self._catalog = catalog
        self._dispatch = dispatch
        self._unfinished = UnfinishedPulls(paths)
        self._under_way: Counter[str] = Counter()

    async def fits(self, model: str) -> Sequence[Fit]:
        """See `upkeep.Upkeep`. Reads headers only; nothing is loaded."""
        found = await self._dispatch.library.open(model)
        if "completion" not in found.capabilities:
            return ()
        alone = replace(
            self._dispatch,
            settings=structs.replace(self._dispatch.settings, num_parallel=1),
            free_memory=self._memory,
            gpus=self._gpus,
        )
        longest = found.header.context_length or CONTEXTS[0]
        contexts = sorted({min(num_ctx, longest) for num_ctx in CONTEXTS})
        free = self._memory()
        return tuple(
            _fit(num_ctx, alone.wanted(found, {**found.parameters, "num_ctx": num_ctx}).forecast, free)
            for num_ctx in contexts
        )

    async def plan_load(self, model: str) -> LoadPlan:
        """See `upkeep.Upkeep`. Reads headers only."""
        found = await self._dispatch.open(model)
        if found.remote is not None:
            return LoadPlan(model, 0)
        return plan_load(self._dispatch.scheduler, self._dispatch.wanted(found, found.parameters))

    def _memory(self) -> int:
        """Main memory that would be free with none of our models in it."""
        return self._dispatch.free_memory() + sum(total - vram for total, vram in self._held())

    def _gpus(self) -> Sequence[GpuSample]:
        ours = sum(vram for _, vram in self._held())
        without = []
        for gpu in self._dispatch.gpus():
            used = gpu.memory_used or 0
            freed = min(ours, used)
            ours -= freed
            without.append(gpu if gpu.memory_used is None else structs.replace(gpu, memory_used=used - freed))
        return without

    def _held(self) -> list[tuple[int, int]]:
        """Bytes each of our models takes, and how many of them on GPUs."""
        loaded = [one.runner.loaded for one in self._dispatch.scheduler.residents if one.runner is not None]
        return [
            (one.weights_bytes + one.kv_bytes + one.compute_bytes, one.vram_bytes) for one in loaded if one is not None
        ]

    async def deletion(self, models: Sequence[str]) -> plans.DeletePlan:
        """Plan to delete models, to be executed.

        Raises:
            ModelElsewhere: one is not ours to delete.
            ModelNotFound: one is not there.
        """
        names = [ModelName.parse(model) for model in models]
        library = self._dispatch.library
        try:
            return plans.plan_delete(await library.inventory(), names)
        except ModelNotFound:
            for model in models:
                await library.check_ours(model)
            raise

    async def plan_delete(self, models: Sequence[str]) -> DeletePlan:
        """See `verbs.Client`."""
        plan = await self.deletion(models)
        in_memory = {one.wanted.name for one in self._dispatch.scheduler.residents}
        shown = tuple(name.short for name in plan.names)
        return DeletePlan(
            models=shown,
            frees=plan.frees,
            keeps=plan.keeps,
            shared_with=tuple(name.short for name in plan.shared_with),
            in_memory=tuple(name for name in shown if name in in_memory),
            shared_with_trash=tuple(name.short for name in plan.shared_with_trash),
            kept_s=self._dispatch.settings.trash_s,
        )

    async def unfinished_pulls(self) -> Sequence[UnfinishedPull]:
        """See `upkeep.Upkeep`; what is under way now is not left."""
        found = await asyncio.to_thread(self._unfinished.list)
        return tuple(
            UnfinishedPull(note.model, one.completed, one.total, note.since_s, note.limit_rate, note.insecure)
            for one in found
            if not self._under_way[(note := one.note).model]
        )

    async def drop_unfinished(self, model: str) -> int:
        """See `upkeep.Upkeep`."""
        return await asyncio.to_thread(self._unfinished.drop, model)

    async def remembered(
        self, model: str, steps: AsyncGenerator[Progress, None], *, limit_rate: int, insecure: bool
    ) -> AsyncGenerator[Progress, None]:
        """Pass on the steps of a pull; where it ends before its end it can be found again, also after a kill."""
        note = Note(model, time.time(), limit_rate, insecure=insecure)
        self._under_way[model] += 1
        is_whole = False
        try:
            async with aclosing(steps):
                async for step in steps:
                    if step.digest and step.total and step.digest not in note.parts:
                        parts = {**note.parts, step.digest: step.total}
                        note = structs.replace(note, parts=parts, whole=step.whole)
                        await asyncio.to_thread(self._unfinished.write, note)
                    yield step
            is_whole = True
        except NoSpace as error:
            in_trash = (await asyncio.to_thread(self._plan_trash)).frees
            if not in_trash:
                raise
            raise NoSpace(f"{error}; emptying the trash frees {megabytes(in_trash)}: :gc in the workbench") from error
        finally:
            self._under_way[model] -= 1
            # One that came to no part, as the network was away, says nothing of what came before.
            if is_whole or (note.parts and not self._unfinished.has_come(note)):
                self._unfinished.forget(model)

    async def verify(self, model: str) -> AsyncGenerator[Progress, None]:
        """See `upkeep.Upkeep`.

        Raises:
            DamagedModel: bytes of it are missing or changed.
        """
        stored, _ = await self._dispatch.library.find(model)
        sizes = blobs_of([stored])
        total, before = sum(sizes.values()), 0
        damages: list[Damage] = []
        for digest, size in sizes.items():
            job = Job(_check(stored.files, digest, size))
            async with aclosing(job.steps()) as steps:
                async for done in steps:
                    yield Progress("verifying", f"verify {model}", total, min(before + done, total))
            before += size
            if job.result is not None:
                damages.append(job.result)
        if damages:
            raise DamagedModel(f"{model}: blob {damages[0].digest} {damages[0].reason}; get it again by pulling it")
        yield Progress("success")

    async def plan_cleanup(self) -> Cleanup:
        """See `upkeep.Upkeep`."""
        plan, kept = await asyncio.to_thread(self._plan_both)
        in_trash = tuple(
            Trashed(
                models=tuple(name.short for name in one.names),
                frees=frees,
                deleted_s=one.at_s,
                until_s=one.at_s + self._dispatch.settings.trash_s,
            )
            for one, frees in kept.deletions
        )
        return Cleanup(len(plan.files), plan.frees, in_trash, kept.frees)

    async def clean_up(self) -> int:
        """See `upkeep.Upkeep`."""
        emptied = await asyncio.to_thread(plans.empty_trash, self._paths)
        return emptied + await asyncio.to_thread(lambda: plans.execute(self._plan_prune()))

    async def counting_trash(self, plan: PullPlan) -> PullPlan:
        """Return the plan of a pull with what emptying the trash would free for it, where it finds no room."""
        if plan.has_room:
            return plan
        return structs.replace(plan, in_trash=(await asyncio.to_thread(self._plan_trash)).frees)

    async def trash(self, models: Sequence[str]) -> Sequence[str]:
        """See `upkeep.Upkeep`."""
        if not self._dispatch.settings.trash_s:
            raise NotSupported("there is no trash: TRASH is 0 in the settings")
        plan = await self.deletion(models)
        moved = await asyncio.to_thread(trash.move_in, self._paths, plan.names)
        return tuple(name.short for name in moved.names)

    async def restore(self) -> Sequence[str]:
        """See `upkeep.Upkeep`."""
        back = await asyncio.to_thread(trash.restore, self._paths)
        return tuple(name.short for name in back.names) if back is not None else ()

    async def empty_in_time(self) -> int:
        """Delete for good what has lain in the trash for as long as the settings say; returns the bytes freed."""
        before_s = time.time() - self._dispatch.settings.trash_s
        return await asyncio.to_thread(plans.empty_trash, self._paths, before_s)

    def _plan_both(self) -> tuple[plans.PrunePlan, plans.TrashPlan]:
        inventory = self._catalog.scan()
        return plans.plan_prune(inventory), plans.plan_trash(inventory)

    def _plan_trash(self) -> plans.TrashPlan:
        return plans.plan_trash(self._catalog.scan())

    def _plan_prune(self) -> plans.PrunePlan:
        return plans.plan_prune(self._catalog.scan())


def _fit(num_ctx: int, expected: Forecast, free: int) -> Fit:
    return Fit(num_ctx, expected.total, expected.layers, expected.on_gpu, expected.ram <= free)


def _check(paths: Files, digest: Digest, size: int) -> Callable[[Callable[[int], None]], Damage | None]:
    return lambda tell: check_blob(paths, digest, size, tell)
