"""From a `Load` to llama.cpp's parameters: where the weights go, how they are read, what the cache is made of."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final, Protocol

import llama_cpp.llama_cpp as c

from corral.runtime.engine.llama import LoadError
from corral.runtime.engine.process import decoding_threads
from corral.runtime.engine.protocol import Load, Placement

KV_TYPES: Final = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q4_0": 2,
    "q4_1": 3,
    "iq4_nl": 20,
    "q5_0": 6,
    "q5_1": 7,
}
"""What a cache may be made of (llama.cpp's common/arg.cpp, kv_cache_types)."""

_WHOLE: Final = ("f32", "f16", "bf16")
_SPLIT_MODES: Final[Mapping[str, int]] = {
    "none": c.LLAMA_SPLIT_MODE_NONE,
    "layer": c.LLAMA_SPLIT_MODE_LAYER,
    "row": c.LLAMA_SPLIT_MODE_ROW,
    "tensor": c.LLAMA_SPLIT_MODE_TENSOR,
}
_EXPERTS: Final = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The tensors of a layer's experts (llama.cpp's common.h, LLM_FFN_EXPS_REGEX)."""
_CPU: Final = "CPU"
_WELL_WITHIN: Final = 0.8
"""The part of a GPU's free memory up to which a model is put on it alone (spec j, as Ollama)."""


class Memory(Protocol):
    """What is asked of `Devices`."""

    @property
    def buffer_types(self) -> Mapping[str, int]:
        """Return kinds of memory by name."""
        ...

    def free_each(self) -> list[int]:
        """Return each GPU's free bytes."""
        ...


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


class ModelParams:
    """A `llama_model_params` with what it points to: keep this object until the model is loaded."""

    def __init__(self, load: Load, devices: Memory) -> None:
        """Fill in what `load` asks for. Raises LoadError."""
        placement = load.placement
        self.struct: Any = c.llama_model_default_params()
        self.struct.n_gpu_layers = placement.gpu_layers
        self.struct.load_mode = _load_mode(load)
        self._split(placement, devices)
        if placement.tensor_split:
            self._tensor_split = _proportions(placement.tensor_split)
            self.struct.tensor_split = self._tensor_split
        if pairs := overrides(placement, devices.buffer_types):
            array = (_Override * (len(pairs) + 1))()  # the last stays empty and ends the list
            for index, (pattern, buffer_type) in enumerate(pairs):
                array[index] = _Override(pattern.encode(), buffer_type)
            self._overrides = array
            self.struct.tensor_buft_overrides = ctypes.cast(array, ctypes.c_void_p)

    def _split(self, placement: Placement, devices: Memory) -> None:
        main_gpu = placement.main_gpu
        mode = placement.split_mode or ("none" if main_gpu is not None else "")
        if not mode and (main_gpu := alone_on(placement, devices)) is not None:
            mode = "none"
        if mode and mode not in _SPLIT_MODES:
            raise LoadError(f"unknown split mode {mode!r}: {', '.join(_SPLIT_MODES)}")
        if mode:
            self.struct.split_mode = _SPLIT_MODES[mode]
        if main_gpu is not None:
            self.struct.main_gpu = main_gpu


def alone_on(placement: Placement, devices: Memory) -> int | None:
    """Return the GPU that takes the whole model by itself: the roomiest of several, where it fits well and nobody
    says how to share it.
    """
    told = placement.spread or placement.tensor_split or placement.overrides or placement.cpu_experts
    if told or not placement.needs_bytes or not placement.gpu_layers:
        return None
    free = devices.free_each()
    if len(free) < 2 or placement.needs_bytes > _WELL_WITHIN * max(free):
        return None
    return free.index(max(free))


def overrides(placement: Placement, buffer_types: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return patterns of tensor names, each with the memory its tensors go to; the first that matches wins.

    Raises LoadError for memory that no device here has.
    """
    found = []
    known = {name.casefold(): pointer for name, pointer in buffer_types.items()}
    for text in placement.overrides:
        pattern, _, name = text.rpartition("=")
        if not pattern or name.casefold() not in known:
            there_is = ", ".join(buffer_types) or "none"
            raise LoadError(f"override {text!r} must be pattern=memory with one of the memories here: {there_is}")
        found.append((pattern, known[name.casefold()]))
    for pattern in expert_patterns(placement.cpu_experts):
        if _CPU.casefold() not in known:
            raise LoadError("llama.cpp names no main memory to keep the experts in")
        found.append((pattern, known[_CPU.casefold()]))
    return found


def expert_patterns(num_layers: int) -> list[str]:
    """Return patterns of the experts of the first `num_layers` layers, of all layers where it is below 0."""
    return [_EXPERTS] if num_layers < 0 else [rf"blk\.{layer}{_EXPERTS}" for layer in range(num_layers)]


def context_params(load: Load) -> Any:
    """Return a `llama_context_params` with what holds for contexts of every kind."""
    params = c.llama_context_default_params()
    params.kv_unified = True
    params.n_threads = decoding_threads(load.num_threads)
    params.n_threads_batch = decoding_threads(load.batch_threads or load.num_threads)
    if load.flash_attention is not None:
        wanted = load.flash_attention
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED if wanted else c.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.no_perf = True
    return params


def cache_types(load: Load) -> tuple[int, int]:
    """Return ggml's types of the cache's keys and values. Raises LoadError."""
    keys, values = load.kv_type, load.kv_type_v or load.kv_type
    for name in (keys, values):
        if name not in KV_TYPES:
            raise LoadError(f"unknown type {name!r} for the KV cache: {', '.join(KV_TYPES)}")
    if load.flash_attention is False and values not in _WHOLE:
        raise LoadError(
            f"a KV cache with values of type {values} needs flash attention, which is turned off: set flash_attention "
            f"to auto, or choose {', '.join(_WHOLE)} for the values (kv_cache_type, as in {keys},f16)"
        )
    return KV_TYPES[keys], KV_TYPES[values]


def _load_mode(load: Load) -> int:
    if load.use_direct_io:
        if load.use_mlock or load.use_mmap:
            raise LoadError("use_direct_io reads past the page cache: it goes with neither use_mmap nor use_mlock")
        return int(c.LLAMA_LOAD_MODE_DIRECT_IO)
    if load.use_mlock:
        return int(c.LLAMA_LOAD_MODE_MLOCK if load.use_mmap is False else c.LLAMA_LOAD_MODE_MMAP_MLOCK)
    if load.use_mmap is None:
        return int(c.LLAMA_LOAD_MODE_AUTO)
    return int(c.LLAMA_LOAD_MODE_MMAP if load.use_mmap else c.LLAMA_LOAD_MODE_NONE)


def _proportions(split: tuple[float, ...]) -> Any:
    most = int(c.llama_max_devices())
    if len(split) > most:
        raise LoadError(f"tensor_split has {len(split)} parts; llama.cpp knows {most} devices at most")
    return (ctypes.c_float * most)(*split)
