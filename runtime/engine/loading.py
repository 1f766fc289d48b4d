"""Loading a model, with progress told to the parent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from corral.runtime.engine.context import Context
from corral.runtime.engine.devices import Devices
from corral.runtime.engine.draft_model import DraftModel, load_draft_model
from corral.runtime.engine.llama import LoadError, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import ModelParams
from corral.runtime.engine.pooled import PooledContext
from corral.runtime.engine.protocol import FromRunner, Load, Loaded, Loading, LoadPhase
from corral.runtime.engine.rpc import add_workers
from corral.runtime.engine.shelf import Shelf
from corral.runtime.engine.vision import Vision, reads_images

_TELL_EVERY_S: Final = 0.1
_NAMED_BY_DIGEST: Final = "sha256-"
"""So a file's name begins that says what it holds; another may have changed since."""


def load_model(
    load: Load, log: EngineLog, devices: Devices, send: Callable[[FromRunner], None]
) -> tuple[Model, Context | PooledContext, DraftModel | None, Vision | None, Loaded]:
    """Load what `load` asks for; a draft model that cannot help is left out, with a warning. Raises LoadError."""
    if load.num_ctx < 1 or load.num_sequences < 1 or load.num_cells < load.num_ctx or load.num_batch < 1:
        raise LoadError("the context must hold at least one sequence")
    shared = bool(load.rpc_servers) and load.placement.gpu_layers != 0
    if shared:
        add_workers(load.rpc_servers)
    free_before = devices.free_bytes()
    params = ModelParams(load, devices)
    # A build with RPC says that it offloads every layer, also where there is no device to take one.
    tell = Teller(send, log, has_gpu=shared or bool(devices.names()))
    model = Model(load.path, params.struct, log, tell.weights)
    if load.adapters:
        tell.phase(LoadPhase.ADAPTERS)
    for adapter in load.adapters:
        model.add_adapter(adapter.path, adapter.scale, log)
    tell.phase(LoadPhase.CACHE)
    context = PooledContext(model, load, log) if load.embedding else Context(model, load, log)
    tell.keep_split()
    draft_model: DraftModel | None = None
    warnings: list[str] = []
    if load.draft_path and isinstance(context, Context):
        tell.phase(LoadPhase.DRAFT)
        try:
            draft_model = load_draft_model(load, model, context, log, devices)
        except LoadError as error:
            warnings.append(f"the draft model is not used: {error}")
    vision: Vision | None = None
    if load.projector_path and not reads_images(load.projector_path):
        warnings.append("the projector is not used: it reads no images")
    elif load.projector_path and isinstance(context, Context):
        tell.phase(LoadPhase.VISION)
        threads = load.batch_threads or load.num_threads
        use_gpu = load.placement.gpu_layers != 0
        vision = Vision(load.projector_path, model, log, use_gpu=use_gpu, num_threads=threads)
    num_cells = context.num_batch if isinstance(context, PooledContext) else context.num_cells
    loaded = Loaded(
        num_ctx=min(load.num_ctx, model.num_ctx_train, num_cells),
        num_ctx_train=model.num_ctx_train,
        num_cells=num_cells,
        num_sequences=load.num_sequences,
        weights_bytes=sum(one.size_bytes for one in (model, draft_model, vision) if one),
        kv_bytes=log.cache_bytes,
        compute_bytes=log.scratch_bytes,
        vram_bytes=max(0, free_before - devices.free_bytes()),
        gpu_layers=tell.split[0],
        num_layers=tell.split[1] or model.num_layers,
        overridden=log.overridden_tensors,
        warnings=warnings,
    )
    return model, context, draft_model, vision, loaded


def open_shelf(load: Load, context: Context) -> Shelf | None:
    """Return where this model's sequences are kept on disk, None where they are not."""
    if not load.shelf:
        return None
    kv_types = f"{load.kv_type} {load.kv_type_v or load.kv_type}"
    settings = f"{version('llama-cpp-python')} {kv_types} {context.copies} {load.flash_attention}"
    for adapter in load.adapters:
        settings += f" {_identity(Path(adapter.path))} {adapter.scale}"
    if load.projector_path:
        settings += f" {_identity(Path(load.projector_path))}"
    weights = _identity(Path(load.path))
    return Shelf(Path(load.shelf), load.shelf_bytes, weights, settings, whole=not context.shares)


def _identity(path: Path) -> str:
    return path.name if path.name.startswith(_NAMED_BY_DIGEST) else f"{path.name} {path.stat().st_mtime_ns}"


class Teller:
    """Tells the parent how far a load is, and stops it once the parent is gone."""

    def __init__(self, send: Callable[[FromRunner], None], log: EngineLog, *, has_gpu: bool) -> None:
        self._send = send
        self._log = log
        self._has_gpu = has_gpu
        self._kept: tuple[int, int] | None = None
        self._parent = os.getppid()
        self._told_s = 0.0

    @property
    def split(self) -> tuple[int, int]:
        """How many layers GPUs take, of how many; nothing of nothing where there is none, or it is not said yet."""
        if self._kept is not None:
            return self._kept
        return (self._log.offloaded_layers, self._log.offloadable_layers) if self._has_gpu else (0, 0)

    def keep_split(self) -> None:
        """Keep what was said of the model: another that is loaded beside it has its own."""
        self._kept = self.split

    def weights(self, fraction: float) -> bool:
        """Tell how much of the weights is read, now and then; whether to go on."""
        now = time.monotonic()
        if now - self._told_s >= _TELL_EVERY_S:
            self._told_s = now
            self._send(Loading(fraction, LoadPhase.WEIGHTS, *self.split))
        return os.getppid() == self._parent

    def phase(self, phase: LoadPhase) -> None:
        """Tell what is being done once the weights are there."""
        self._send(Loading(1.0, phase, *self.split))
