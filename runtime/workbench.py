"""The verbs: everything API, screen and command line can ask for, answered in this process.

One workbench per process, on one loop (the service's). It puts the parts together and holds no rule of its own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from corral.runtime.answers import Answers
from corral.runtime.caretaker import Caretaker
from corral.runtime.dispatch import Dispatch
from corral.runtime.errors import RequestCanceled, RunError
from corral.runtime.events import Events
from corral.runtime.gauges import Gauges, HostProbe, SystemProbe, available_memory
from corral.runtime.housekeeping import forget_sequences, keep_emptying, tidy
from corral.runtime.live_settings import MODELS_A_GPU, LiveSettings
from corral.runtime.loaded_models import loaded_models
from corral.runtime.log_lines import LogLines
from corral.runtime.pooling import Pooling
from corral.runtime.publish import Publisher
from corral.runtime.reading import library_of
from corral.runtime.recordings import Recorded
from corral.runtime.remote.answers import RemoteAnswers
from corral.runtime.remote.health import Hosts
from corral.runtime.remote.hosts import Connection
from corral.runtime.requests import RequestLog
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from corral.runtime.settings import Settings
from corral.runtime.settings_change import SettingsChange
from corral.runtime.snapshot import ListenerView, Snapshot
from corral.runtime.spares import Spares
from corral.runtime.tokenizing import Tokenizing
from corral.runtime.transfers import Transfers
from corral.runtime.upkeep import Cleanup, Fit, LoadPlan, PullPlan, SettingView, UnfinishedPull
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    CreateRequest,
    DeletePlan,
    Detokenized,
    DetokenizeRequest,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    LoadedModel,
    ModelDetails,
    ModelSummary,
    Progress,
    Ranking,
    RerankRequest,
    TokenizeRequest,
    Tokens,
)
from corral.runtime.watch import Watch
from corral.store import plans
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.errors import StoreError
from corral.store.manifests import ManifestStore
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths
from corral.store.retry import RateLimit

if TYPE_CHECKING:
    from corral.runtime.create import Creator
    from corral.runtime.pull import Puller
    from corral.store.push import Pusher

OLLAMA_LEVEL = "0.33.0"
"""The version of Ollama whose API this is; clients compare it (spec appendix A)."""


class Workbench:
    """Implements `verbs.Client`. `start` and `close` frame its life on the service loop; `latest` is for any thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        probe: HostProbe | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        warm: bool = True,
        connect: Callable[[str], Connection] | None = None,
    ) -> None:
        """`connect` gives the way to a server elsewhere; without it there is none."""
        self._settings = settings
        self._clock = clock
        self._warm = warm
        self._paths = StorePaths(settings.models)
        self._blobs = BlobStore(self._paths)
        self._manifests = ManifestStore(self._paths)
        self._catalog = Catalog(self._paths, self._blobs)
        self._library = library_of(settings, self._catalog)
        self.events = Events(wall_clock)
        self.requests = RequestLog(clock, wall_clock)
        self.log = LogLines(wall_clock)
        self.events.on_add = self.log.follow_event
        self.requests.on_row_end = self.log.follow_request
        self._transfers = Transfers(clock)
        self._gauges = Gauges(probe or SystemProbe(settings.models))
        self._spares = Spares(self._start_runner)
        self._scheduler = Scheduler(
            self._spares.take,
            self.events,
            clock,
            max_loaded=settings.max_loaded_models or MODELS_A_GPU,
            max_queue=settings.max_queue,
            load_timeout_s=settings.load_timeout_s,
            free_memory=available_memory,
        )
        dispatch = Dispatch(
            settings,
            self._library,
            self._scheduler,
            self.requests,
            clock=clock,
            free_memory=available_memory,
            new_id=_new_id,
            gpus=lambda: self._gauges.latest.gpus if self._gauges.latest is not None else (),
        )
        self._limit = RateLimit(settings.limit_rate)
        self._live = LiveSettings(dispatch, self.events, self._limit)
        self._remotes = RemoteAnswers(dispatch, Hosts(connect, self.events, clock) if connect else None)
        self._answers = Answers(dispatch, remotes=self._remotes)
        self._pooling = Pooling(dispatch, self._remotes)
        self._tokenizing = Tokenizing(dispatch, self._remotes)
        self._caretaker = Caretaker(self._paths, self._catalog, dispatch)
        told = (self._scheduler, self._gauges, self.requests, self._transfers, self.events, self.log, clock, wall_clock)
        self._publisher = Publisher(*told, remotes=self._remotes.in_use.views)
        self._wall_clock = wall_clock
        self._watch = Watch(self._publisher, self._gauges, self._scheduler, self.requests, self.events, clock)
        self._watch.on_gpus = self._live.meet
        self._tidying: asyncio.Task[None] | None = None
        self._emptying: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self, serving: str = "") -> None:
        """Begin to sample and to publish; `serving` is the address shown on the screens."""
        self._publisher.serving = serving
        if serving:
            keys, origins = len(self._settings.api_keys), self._settings.origins
            self._publisher.listeners = (ListenerView(serving, self._wall_clock(), keys, origins),)
        for warning in self._settings.warnings:
            self.events.add("server", warning, "warning")
        if serving:
            self.events.add("server", f"serving on {serving}")
        # Not where a command works by itself: it is gone before the folder is read.
        if serving and not self._settings.no_prune:
            self._tidying = asyncio.create_task(
                tidy(self._paths, self._catalog, self.events, self._settings.prompt_cache)
            )
        if serving:
            self._emptying = asyncio.create_task(
                keep_emptying(self._caretaker.empty_in_time, self._paths, self.events, self._settings.prompt_cache)
            )
        self._watch.start()
        if self._warm:
            self._spares.warm()
        if serving:
            self._live.preload()

    async def reload_settings(self) -> SettingsChange:
        """See `api.served.ServedClient`."""
        return await self._live.reload()

    async def _start_runner(self) -> Runner:
        """Start a child whose standard error goes into the log of the screen."""
        runner = await Runner.start(self._clock)
        runner.stderr.on_line = lambda line: self.log.add("info", f"runner {runner.pid}", line)
        return runner

    async def close(self) -> None:
        """Stop every runner and reap it."""
        await self._live.close()
        await self._watch.close()
        if self._emptying is not None:
            self._emptying.cancel()
        if self._tidying is not None:
            await asyncio.gather(self._tidying, return_exceptions=True)
        await asyncio.gather(self._scheduler.close(), self._spares.close(), self._remotes.close())
        if "_puller" in self.__dict__:
            await self._puller.close()

    def latest(self) -> Snapshot:
        """The newest snapshot; that somebody looks is what makes it be renewed."""
        return self._watch.latest()

    def snapshot_now(self) -> Snapshot:
        """What holds at this moment; on the service loop only."""
        return self._publisher.snapshot()

    # -- models on disk -----------------------------------------------------------------------------------------

    async def version(self) -> str:
        """The version of Ollama that clients are told."""
        return OLLAMA_LEVEL

    async def list_models(self) -> Sequence[ModelSummary]:
        """See `verbs.Client`."""
        return await self._library.list()

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        """See `verbs.Client`."""
        return await self._library.show(model, verbose=verbose)

    async def copy(self, source: str, destination: str) -> None:
        """See `verbs.Client`."""
        new = ModelName.parse(destination)
        await asyncio.to_thread(self._creator.copy, *(await self._library.find(source)), new)

    async def plan_delete(self, models: Sequence[str]) -> DeletePlan:
        """See `verbs.Client`."""
        return await self._caretaker.plan_delete(models)

    async def delete(self, model: str) -> None:
        """See `verbs.Client`."""
        plan = await self._caretaker.deletion([model])
        freed = await asyncio.to_thread(plans.execute, plan)
        await asyncio.to_thread(forget_sequences, self._paths, self._settings.prompt_cache)
        self.events.add("delete", f"{plan.names[0].short}: freed {freed / 1e6:,.0f} MB")

    async def has_blob(self, digest: str) -> bool:
        """See `verbs.Client`."""
        return await asyncio.to_thread(self._blobs.has, Digest.parse(digest))

    async def put_blob(self, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """See `verbs.Client`. Bytes that do not hash to `digest` leave nothing behind."""
        wanted = Digest.parse(digest)
        if await asyncio.to_thread(self._blobs.has, wanted):
            async for _ in chunks:
                pass  # the sender is heard out: it learns of a 200 only after its body
            return False
        writer = await asyncio.to_thread(self._blobs.writer, wanted)
        with writer:
            async for chunk in chunks:
                await asyncio.to_thread(writer.write, chunk)
            await asyncio.to_thread(writer.commit)
        return True

    async def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """See `verbs.Client`."""
        caller = request.caller or Caller(_new_id(), "local", "", "create")
        async with aclosing(self._job(caller, request.model, self._creator.create(request), "create")) as steps:
            async for step in steps:
                yield step

    async def pull(
        self, model: str, *, insecure: bool = False, limit_rate: int = 0, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """See `verbs.Client`."""
        caller = caller or Caller(_new_id(), "local", "", "pull")
        job = self._puller.pull(model, insecure=insecure, limit_rate=limit_rate)
        job = self._caretaker.remembered(model, job, limit_rate=limit_rate, insecure=insecure)
        async with aclosing(self._job(caller, model, job, "pull")) as steps:
            async for step in steps:
                yield step

    # -- upkeep: see `upkeep.Upkeep` --------------------------------------------------------------------------------

    async def plan_pull(self, model: str, *, insecure: bool = False) -> PullPlan:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.counting_trash(await self._puller.plan(model, insecure=insecure))

    async def fits(self, model: str) -> Sequence[Fit]:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.fits(model)

    async def plan_load(self, model: str) -> LoadPlan:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.plan_load(model)

    async def settings(self) -> Sequence[SettingView]:
        """See `upkeep.Upkeep`."""
        return await self._live.views()

    async def adjust(self, name: str, value: str) -> SettingsChange:
        """See `upkeep.Upkeep`."""
        return await self._live.adjust(name, value)

    async def unfinished_pulls(self) -> Sequence[UnfinishedPull]:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.unfinished_pulls()

    async def drop_unfinished(self, model: str) -> int:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.drop_unfinished(model)

    async def verify(self, model: str, *, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        """See `upkeep.Upkeep`."""
        caller = caller or Caller(_new_id(), "local", "", "verify")
        async with aclosing(self._job(caller, model, self._caretaker.verify(model), "verify")) as steps:
            async for step in steps:
                yield step

    async def plan_cleanup(self) -> Cleanup:
        """See `upkeep.Upkeep`."""
        return await self._caretaker.plan_cleanup()

    async def clean_up(self) -> int:
        """See `upkeep.Upkeep`."""
        freed = await self._caretaker.clean_up()
        await asyncio.to_thread(forget_sequences, self._paths, self._settings.prompt_cache)
        return freed

    async def trash(self, models: Sequence[str]) -> Sequence[str]:
        """See `upkeep.Upkeep`."""
        names = await self._caretaker.trash(models)
        self.events.add("delete", f"{', '.join(names)}: in the trash, nothing is freed yet")
        return names

    async def restore(self) -> Sequence[str]:
        """See `upkeep.Upkeep`."""
        names = await self._caretaker.restore()
        if names:
            self.events.add("delete", f"{', '.join(names)}: back from the trash")
        return names

    # What brings models in and out is read when it is first asked for: a listing and the first frame don't need it.

    @cached_property
    def _creator(self) -> Creator:
        from corral.runtime.create import Creator

        return Creator(
            self._library,
            self._catalog,
            self._blobs,
            self._manifests,
            prune=not self._settings.no_prune,
            pull=lambda model: self._puller.pull(model),
        )

    @cached_property
    def _puller(self) -> Puller:
        from corral.runtime.pull import Puller

        settings = self._settings
        return Puller(
            self._blobs,
            self._creator,
            settings.registries,
            limit=self._limit,
            prune=not settings.no_prune,
        )

    @cached_property
    def _pusher(self) -> Pusher:
        from corral.store.push import Pusher

        return Pusher(self._blobs, self._settings.registries)

    async def push(
        self, model: str, *, insecure: bool = False, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """See `verbs.Client`."""
        caller = caller or Caller(_new_id(), "local", "", "push")
        job = self._pusher.push(model, insecure=insecure)
        async with aclosing(self._job(caller, model, job, "push")) as steps:
            async for step in steps:
                yield step

    async def _job(
        self, caller: Caller, model: str, steps: AsyncGenerator[Progress, None], kind: str
    ) -> AsyncGenerator[Progress, None]:
        """Run a long job with its row, its line among the transfers, and its way to be cancelled."""
        ours = not self.requests.is_open(caller.request_id)
        status, note = 499, "stopped"
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.requests.begin(caller, model, lambda: None if asked.done() else asked.set_result(None))
        try:
            with self._transfers.open(caller.request_id, model, kind) as transfer:
                async with aclosing(steps):
                    async for step in _until(steps, asked):
                        transfer.follow(step)
                        yield step
            self.events.add(kind, f"{model}: done")
            status, note = 200, ""
        except (RunError, StoreError) as error:
            if not isinstance(error, RequestCanceled):
                status, note = 500, str(error)
                self.events.add(kind, f"{model}: {error}", "error")
            raise
        finally:
            if ours:
                self.requests.end(caller.request_id, status=status, note=note)

    # -- models in memory ---------------------------------------------------------------------------------------

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """See `verbs.Client`."""
        return self._answers.chat(request)

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """See `verbs.Client`."""
        return self._answers.generate(request)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `verbs.Client`."""
        return await self._pooling.embed(request)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """See `verbs.Client`."""
        return await self._pooling.rerank(request)

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """See `verbs.Client`."""
        return await self._tokenizing.tokenize(request)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """See `verbs.Client`."""
        return await self._tokenizing.detokenize(request)

    async def unload(self, model: str) -> None:
        """See `verbs.Client`."""
        await self._scheduler.unload((await self._library.open(model)).runner_key)

    async def loaded(self) -> Sequence[LoadedModel]:
        """See `verbs.Client`."""
        here = await loaded_models(self._library, self._scheduler.residents, self._clock())
        return (*here, *self._remotes.in_use.loaded())

    async def cancel(self, request_id: str) -> bool:
        """See `verbs.Client`."""
        return self.requests.cancel(request_id)

    async def pin(self, model: str, *, pinned: bool) -> None:
        """See `verbs.Client`."""
        self._scheduler.pin((await self._library.open(model)).runner_key, pinned=pinned)

    async def record(self, *, on: bool) -> None:
        """See `verbs.Client`."""
        self.requests.recordings.switch(on=on)

    async def recorded(self, request_id: str) -> Recorded | None:
        """See `verbs.Client`."""
        return self.requests.recordings.get(request_id)


async def _until(steps: AsyncGenerator[Progress, None], asked: asyncio.Future[None]) -> AsyncGenerator[Progress, None]:
    """Pass steps on until they end or somebody asks to stop.

    Raises:
        RequestCanceled: somebody did.
    """
    while True:
        step = asyncio.ensure_future(anext(steps, None))
        either: set[asyncio.Future[Any]] = {step, asked}
        try:
            await asyncio.wait(either, return_when="FIRST_COMPLETED")
        finally:
            if not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
        if asked.done():
            raise RequestCanceled
        progress = step.result()
        if progress is None:
            return
        yield progress


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
