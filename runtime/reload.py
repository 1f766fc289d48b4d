"""Whether a loaded model serves a request as it is, or has to be loaded anew, and what for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter

import msgspec

from corral.runtime.engine import protocol
from corral.runtime.residents import Wanted

GROWTH = 1.5
"""A context that must grow grows so many times at least, so that a chat that gets longer does not reload each turn."""
SETTLE_S = 30.0
"""Options that change only how fast a model is do not reload it again so soon: two clients would turn by turn."""


def reload_reason(loaded: Wanted, wanted: Wanted, age_s: float = float("inf")) -> str | None:
    """Which option a loaded model cannot meet, in words; None where it serves as it is.

    Only options the request or the model names itself count, and of contexts only a larger one (spec j is stricter:
    there any difference reloads). `age_s` is for how long it is loaded.
    """
    if wanted.load.num_ctx > loaded.load.num_ctx and "num_ctx" in wanted.explicit:
        return f"num_ctx {loaded.load.num_ctx} -> {wanted.load.num_ctx}"
    if wanted.load.draft_path and wanted.load.draft_path != loaded.load.draft_path:
        return "another draft model"
    for option, attribute in _FIXED_BY_LOAD:
        if option in wanted.explicit and not (option in _ONLY_SPEED and age_s < SETTLE_S):
            before, after = attribute(loaded.load), attribute(wanted.load)
            if before != after:
                return f"{option} {before} -> {after}"
    return None


def grown(wanted: Wanted, loaded: protocol.Loaded) -> Wanted:
    """Return what to load for a request whose context a loaded model was too small for: somewhat more than it asks."""
    num_ctx = wanted.load.num_ctx
    more = min(int(loaded.num_ctx * GROWTH), loaded.num_ctx_train or num_ctx)
    if more <= num_ctx or loaded.num_ctx >= num_ctx:
        return wanted
    cells = max(more, wanted.load.num_cells)
    return replace(wanted, load=msgspec.structs.replace(wanted.load, num_ctx=more, num_cells=cells))


def unmet_options(loaded: protocol.Load, wanted: Wanted) -> tuple[str, ...]:
    """Options about speed that a request names and a loaded model serves it without, in words."""
    return tuple(
        f"{option} {attribute(wanted.load)} is not applied: the model was just loaded with {attribute(loaded)}"
        for option, attribute in _FIXED_BY_LOAD
        if option in _ONLY_SPEED and option in wanted.explicit and attribute(loaded) != attribute(wanted.load)
    )


_FIXED_BY_LOAD: tuple[tuple[str, Callable[[protocol.Load], object]], ...] = (
    ("num_batch", attrgetter("num_batch")),
    ("num_gpu", attrgetter("placement.gpu_layers")),
    ("main_gpu", attrgetter("placement.main_gpu")),
    ("use_mmap", attrgetter("use_mmap")),
    ("num_thread", attrgetter("num_threads")),
    ("num_ubatch", attrgetter("micro_batch")),
    ("num_thread_batch", attrgetter("batch_threads")),
    ("use_mlock", attrgetter("use_mlock")),
    ("use_direct_io", attrgetter("use_direct_io")),
    ("flash_attention", attrgetter("flash_attention")),
    ("kv_cache_type", attrgetter("kv_type", "kv_type_v")),
    ("split_mode", attrgetter("placement.split_mode")),
    ("tensor_split", attrgetter("placement.tensor_split")),
    ("override_tensor", attrgetter("placement.overrides")),
    ("num_cpu_moe", attrgetter("placement.cpu_experts")),
)

_ONLY_SPEED = frozenset({"num_batch", "num_thread", "num_ubatch", "num_thread_batch"})
