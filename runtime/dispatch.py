"""What every request that goes to a runner has: a row in the table, a way to be stopped, how its model is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from corral.runtime.engine.protocol import Load
from corral.runtime.errors import BadRequest, NotSupported, RequestCanceled, RunError
from corral.runtime.forecast import Forecast, forecast, layers_that_fit, with_gpu
from corral.runtime.library import Library, ModelOnDisk
from corral.runtime.loads import load_message, size_of
from corral.runtime.model_tables import ModelTable
from corral.runtime.options import OPTIONS, Options, parse_options, unknown_names
from corral.runtime.requests import RequestLog
from corral.runtime.residents import Wanted
from corral.runtime.runner_stream import RunnerStream
from corral.runtime.scheduler import Scheduler
from corral.runtime.settings import Settings
from corral.runtime.snapshot import GpuSample
from corral.runtime.verbs import Caller
from corral.store.errors import StoreError

T = TypeVar("T")

DEFAULT_CONTEXT = 4096
CONTEXT_BY_VRAM = ((47 * 2**30, 262144), (23 * 2**30, 32768))
"""The context of requests that name none, where GPUs have so much memory together (spec j)."""
SMALLEST_CONTEXT = 4
SMALLEST_CONTEXT_WITH_IMAGES = 2048
"""Of a model that reads images, each of which takes hundreds of tokens (spec a.9)."""
_LOADING = frozenset(name for name, option in OPTIONS.items() if option.loads)
_MOST_KNOWN = 256
_VOCABULARY = "token_embd.weight"
_NO_TABLE = ModelTable()


@dataclass(slots=True)
class Dispatch:
    """What the verbs that need a runner work with. Owned by the service loop, which may change its `settings`.

    `new_id` makes ids for callers that bring none, `clock` is monotonic seconds, `free_memory` in bytes.
    """

    settings: Settings
    library: Library
    scheduler: Scheduler
    requests: RequestLog
    clock: Callable[[], float]
    free_memory: Callable[[], int]
    new_id: Callable[[], str]
    gpus: Callable[[], Sequence[GpuSample]] = tuple
    _known: dict[tuple[str, ...], tuple[Settings, Wanted]] = field(default_factory=dict)

    def caller(self, given: Caller | None, verb: str) -> Caller:
        """Return who asks; without one it is this process."""
        return given or Caller(self.new_id(), "local", "", verb)

    def row(self, caller: Caller, model: str) -> Row:
        """Return the request's row, to be entered."""
        return Row(self.requests, caller, model)

    async def open(self, name: str) -> ModelOnDisk:
        """Read a model as the settings would have it; raises as `Library.open`."""
        model = await self.library.open(name)
        if table := self._table(model).options:
            model = replace(model, parameters={**model.parameters, **table})
        if not self.settings.go_template and model.header.chat_template:
            model = replace(model, template=None)
        return model

    def _table(self, model: ModelOnDisk) -> ModelTable:
        return self.settings.model_tables.get(model.shown.lower(), _NO_TABLE)

    def keep_alive_s(self, given: float | None, model: ModelOnDisk) -> float:
        """Return how long the model stays once the request is done."""
        of_model = self._table(model).stays_s
        return next((one for one in (given, of_model) if one is not None), self.settings.keep_alive_s)

    def refuse(self, warnings: Sequence[str]) -> None:
        """Raise BadRequest where warnings are errors (`CORRAL_STRICT`) and there are some."""
        if self.settings.strict and warnings:
            raise BadRequest("; ".join(warnings))

    def wanted(self, model: ModelOnDisk, given: Mapping[str, object]) -> Wanted:
        """Return how the model is to be loaded; `given` are the options as the model and the request name them."""
        if model.remote is not None:
            raise NotSupported(f'"{model.shown}" has its engine on another server, which cannot be asked this')
        options = parse_options(self.settings.load_options, given)
        loading = {name: given[name] for name in given.keys() & _LOADING if given[name] is not None}
        key = (model.digest, model.shown, model.runner_key, repr(sorted(loading.items())))
        # What a model will take is weighed where it is to be loaded, not for each request to one that is there.
        settings, wanted = self._known.get(key, (None, None))
        if wanted is None or settings is not self.settings or not self.scheduler.serves(wanted):
            wanted = self._weighed(model, options, frozenset(loading))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = (self.settings, wanted)
        return wanted

    def _weighed(self, model: ModelOnDisk, options: Options, explicit: frozenset[str]) -> Wanted:
        settings, header, table = self.settings, model.header, self._table(model)
        if table.num_parallel:
            settings = msgspec.structs.replace(settings, num_parallel=table.num_parallel)
        num_ctx = options.num_ctx or settings.context_length or self._default_context()
        if "vision" in model.capabilities:
            num_ctx = max(num_ctx, SMALLEST_CONTEXT_WITH_IMAGES)
        if header.context_length:
            num_ctx = min(num_ctx, header.context_length)
        num_ctx = max(num_ctx, SMALLEST_CONTEXT)
        load = load_message(
            model.path,
            header.metadata,
            options,
            settings,
            num_ctx,
            self.free_memory(),
            embedding="completion" not in model.capabilities,
            draft=model.draft,
            adapters=model.adapters,
            projector=model.projectors[0] if model.projectors else None,
        )
        expected = self._forecast(model, load)
        some = expected.on_gpu > 0 or (settings.gpu_overhead > 0 and bool(self._measured_gpus()))
        if load.placement.gpu_layers < 0 and expected.on_gpu < expected.layers and some:
            # What does not fit the GPUs stays in main memory, layer by layer; llama.cpp would fail.
            placement = msgspec.structs.replace(load.placement, gpu_layers=expected.on_gpu)
            load = msgspec.structs.replace(load, placement=placement)
        return Wanted(model.shown, model.runner_key, load, explicit, expected, table.pinned)

    def _measured_gpus(self) -> list[GpuSample]:
        return [gpu for gpu in self.gpus() if gpu.memory_total is not None and gpu.memory_used is not None]

    def _default_context(self) -> int:
        vram = sum(gpu.memory_total or 0 for gpu in self.gpus())
        return next((num_ctx for least, num_ctx in CONTEXT_BY_VRAM if vram >= least), DEFAULT_CONTEXT)

    def _forecast(self, model: ModelOnDisk, load: Load) -> Forecast:
        """Say what memory the model will take, and how many of its layers GPUs have room for."""
        extra = sum(size_of(path) for path in (*model.adapters, *model.projectors, *filter(None, [model.draft])))
        vocabulary = next((one.shape[1] for one in model.header.tensors if one.name == _VOCABULARY), 0)
        weights = sum(one.size for one in model.header.tensors)
        if model.header.number("split.count") > 1:
            weights = max(weights, model.size - extra)
        expected = forecast(model.header.metadata, load, weights, vocabulary=vocabulary, extra=extra)
        gpus = self._measured_gpus()
        if not gpus or not load.placement.gpu_layers:
            return expected
        if load.placement.gpu_layers > 0:
            return with_gpu(expected, load.placement.gpu_layers)
        kept = self.settings.gpu_overhead
        free = [max(0, (gpu.memory_total or 0) - (gpu.memory_used or 0) - kept) for gpu in gpus]
        return with_gpu(expected, layers_that_fit(expected, free))


class Row:
    """A request's row, opened on entry and closed on exit by whoever opened it: the API's middleware or the verb."""

    def __init__(self, requests: RequestLog, caller: Caller, model: str) -> None:
        self._requests = requests
        self._caller = caller
        self._model = model
        self._ours = False

    def __enter__(self) -> None:
        self._ours = not self._requests.is_open(self._caller.request_id)
        self._requests.begin(self._caller, self._model)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self._ours:
            return
        row = self._caller.request_id
        if error is None:
            self._requests.end(row, status=200)
        elif isinstance(error, (GeneratorExit, asyncio.CancelledError, RequestCanceled)):
            self._requests.end(row, status=499, note="stopped")
        else:
            known = isinstance(error, (RunError, StoreError))
            self._requests.end(row, status=500, note=str(error) if known else type(error).__name__)


class Cancellation:
    """Lets somebody else stop a request, wherever it waits."""

    def __init__(self) -> None:
        self._asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stream: RunnerStream | None = None

    def cancel(self) -> None:
        """Stop the request: what is guarded, and the stream."""
        if not self._asked.done():
            self._asked.set_result(None)
        if self.stream is not None:
            self.stream.fail(RequestCanceled())

    async def guard(self, awaitable: Awaitable[T]) -> T:
        """Await something unless the request is stopped first. Raises RequestCanceled."""
        work = asyncio.ensure_future(awaitable)
        either: set[asyncio.Future[Any]] = {work, self._asked}
        try:
            await asyncio.wait(either, return_when="FIRST_COMPLETED")
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if self._asked.done() or work.cancelled():
            raise RequestCanceled
        return work.result()


def ignored(options: Mapping[str, object]) -> tuple[str, ...]:
    """Return warnings of a request's options that mean nothing here."""
    return tuple(f"option {name!r} is not known and was ignored" for name in unknown_names(options))
