"""From options and settings to what a runner is told to load, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from corral.runtime.engine.protocol import Adapter, Load, Placement
from corral.runtime.load_options import flash_attention, kv_types, override, split_mode, tensor_split
from corral.runtime.memory import cache_bytes_per_token, choose_cells
from corral.runtime.options import Options
from corral.runtime.settings import Settings


def load_message(
    path: Path,
    metadata: Mapping[str, object],
    options: Options,
    settings: Settings,
    num_ctx: int,
    free_bytes: int,
    *,
    embedding: bool,
    draft: Path | None = None,
    adapters: Sequence[Path] = (),
    projector: Path | None = None,
) -> Load:
    """Say how a model is loaded; `metadata` is its GGUF header's, `free_bytes` what memory there is for the cache."""
    types = kv_types(options.kv_cache_type or settings.kv_cache_type)
    per_token = cache_bytes_per_token(metadata, *types)
    seeing = size_of(projector) if projector else 0
    num_cells = choose_cells(num_ctx, settings.num_parallel, per_token, max(0, free_bytes - seeing))
    # Files outside of a store may be changed under their name, or be two of one name: what they have read is not kept.
    shelf = settings.prompt_cache if settings.prompt_cache_bytes and path.name.startswith("sha256-") else None
    return Load(
        path=str(path),
        num_ctx=num_ctx,
        num_cells=num_cells,
        num_sequences=settings.num_parallel,
        num_batch=options.num_batch,
        micro_batch=options.num_ubatch,
        num_threads=options.num_thread,
        batch_threads=options.num_thread_batch,
        use_mmap=options.use_mmap,
        use_mlock=options.use_mlock,
        use_direct_io=options.use_direct_io,
        flash_attention=(
            flash_attention(options.flash_attention) if options.flash_attention else settings.flash_attention
        ),
        kv_type=types.keys,
        kv_type_v="" if types.values == types.keys else types.values,
        embedding=embedding,
        draft_path=str(draft or ""),
        projector_path=str(projector or ""),
        adapters=[Adapter(str(one)) for one in adapters],
        rpc_servers=list(settings.rpc_servers),
        shelf=str(shelf or ""),
        shelf_bytes=settings.prompt_cache_bytes,
        placement=Placement(
            gpu_layers=options.num_gpu,
            main_gpu=options.main_gpu,
            split_mode=split_mode(options.split_mode) if options.split_mode else "",
            tensor_split=tensor_split(options.tensor_split) if options.tensor_split else (),
            overrides=tuple(map(override, options.override_tensor)),
            cpu_experts=options.num_cpu_moe,
            spread=settings.sched_spread,
            needs_bytes=size_of(path) + seeing + int(per_token * num_cells),
        ),
    )


def size_of(path: Path) -> int:
    """Return a file's bytes; 0 where it cannot be looked at, for the runner says what is wrong with it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
