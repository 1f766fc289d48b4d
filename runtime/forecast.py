"""What memory a model will take once it is loaded, from its GGUF header and how it is to be loaded.

The rules are llama.cpp's: `llama_kv_cache` and `llama_kv_cache_iswa` for the cache, `graph_reserve` and
`output_reserve` for what it computes with. Sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from corral.runtime.engine import sizes
from corral.runtime.engine.protocol import Load
from corral.runtime.memory import KV_TYPES

_FLOAT: Final = 4
_CELL_BLOCK: Final = 256
_SLIDES_ALL_BUT_EVERY: Final = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "cohere2": 4,
    "olmo2": 4,
    "exaone4": 4,
    "smallthinker": 4,
}
"""Of so many layers the last one looks at everything, the others through the window (llama.cpp: `set_swa_pattern`)."""
_UNGATED: Final = "bert"
"""The encoder whose layers have one wide product and no gate beside it."""
_OTHER_ENCODERS: Final = frozenset({"gemma-embedding"})
"""Those without a cache whose names do not say so (llama.cpp: `llama_model::create_memory`)."""
_ROW_NUMBERS: Final = 3
"""What a token of a text to be pooled is told beside its sequence: its id, its place, its type."""
_ROOM_ON_GPU: Final = 0.92
"""How much of a GPU's free memory is planned with; drivers and other programs take some."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model takes: its weights, `mapped` from the disk or read, its cache, what it computes with, and the rest.

    `extra` are a projector, adapters and a draft model's weights. Of the `layers` so many as `on_gpu` lie on GPUs.
    """

    weights: int = 0
    cache: int = 0
    compute: int = 0
    extra: int = 0
    mapped: bool = True
    layers: int = 0
    on_gpu: int = 0

    @property
    def total(self) -> int:
        """All of it, wherever it lies."""
        return self.weights + self.cache + self.compute + self.extra

    @property
    def vram(self) -> int:
        """What of it goes to the GPUs."""
        if not self.layers or not self.on_gpu:
            return 0
        share = min(1.0, self.on_gpu / self.layers)
        return int((self.weights + self.cache) * share) + self.compute + self.extra

    @property
    def ram(self) -> int:
        """What of it stays in main memory."""
        return self.total - self.vram

    @property
    def mapped_ram(self) -> int:
        """What of that the system may drop and read again."""
        if not self.mapped:
            return 0
        share = 1.0 - (min(1.0, self.on_gpu / self.layers) if self.layers else 0.0)
        return int(self.weights * share)

    @property
    def fixed_ram(self) -> int:
        """What of that has to be there."""
        return self.ram - self.mapped_ram


def forecast(metadata: Mapping[str, object], load: Load, weights: int, *, vocabulary: int, extra: int = 0) -> Forecast:
    """Say what a model takes. `weights` are its tensors' bytes, `vocabulary` its tokens."""
    shape = Shape(metadata)
    batch = sizes.batch_size(load.num_batch, load.num_sequences)
    micro = min(load.micro_batch or batch, batch)
    if load.embedding:
        return _pooled(shape, load, weights, vocabulary, extra)
    whole = not shape.window or _keeps_whole(shape, load, weights)
    state = shape.state_bytes
    spare = sizes.spare_states(weights, state) if state else sizes.SPARE_SEQUENCES if whole else 0
    slots = sizes.slots(load.num_sequences, load.num_batch, spare=spare)
    cells = _blocks(load.num_cells)
    behind = cells if whole else min(cells, _blocks(shape.window * slots + micro))
    per_cell = shape.cell_bytes(load.kv_type, load.kv_type_v or load.kv_type)
    kept = [(size, behind if slides else cells) for size, slides in zip(per_cell, shape.slides, strict=True)]
    cache = sum(size * count for size, count in kept)
    masked = max((count for size, count in kept if size), default=0)
    logits = micro * vocabulary * _FLOAT + 2 * micro * shape.width * _FLOAT
    inside = micro * _FLOAT * (shape.widest + 4 * shape.width) + masked * micro * 2
    compute = max(logits, inside) + slots * vocabulary * _FLOAT
    return Forecast(
        weights=weights,
        cache=int(cache) + state * slots,
        compute=compute,
        extra=extra,
        mapped=load.use_mmap is not False,
        layers=shape.layers + 1,
    )


def _pooled(shape: Shape, load: Load, weights: int, vocabulary: int, extra: int) -> Forecast:
    """Say what a model takes that makes texts into vectors: a text is computed in one piece (`engine/pooled.py`)."""
    rows = min(load.num_ctx, shape.number("context_length") or load.num_ctx)
    attended, masked = 5.5 * shape.width, 2 * rows
    if load.flash_attention is False:
        attended, masked = 6 * shape.width + shape.heads * rows, _FLOAT * rows
    if not shape.is_ungated:
        attended += 2 * shape.width  # turned by their places, from one product for queries, keys and values
    inside, cache = max(attended, shape.bent + 3 * shape.width), 0.0
    if not shape.is_encoder:
        # llama.cpp reserves for every token what the next one could be, though nobody asks.
        inside = max(inside, vocabulary + 2 * shape.width)
        cache = _blocks(rows) * sum(shape.cell_bytes(load.kv_type, load.kv_type_v or load.kv_type))
    compute = int(rows * (_FLOAT * (inside + sizes.MOST_TEXTS + _ROW_NUMBERS) + masked))
    compute += _FLOAT * sizes.MOST_TEXTS * (vocabulary + shape.width)
    return Forecast(weights, int(cache), compute, extra, load.use_mmap is not False, shape.layers + 1)


class Shape:
    """A model's measures as its header has them."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata
        self._architecture = str(metadata.get("general.architecture", ""))
        self.layers = self.number("block_count")
        self.width = self.number("embedding_length")
        self.heads = max(1, max(self._each("attention.head_count"), default=1))
        self.window = self.number("attention.sliding_window")
        experts = self.number("expert_used_count")
        self.widest = max(
            2 * max(self._each("feed_forward_length"), default=0),
            2 * experts * self.number("expert_feed_forward_length"),
            6 * self.number("ssm.inner_size"),
        )

    @property
    def bent(self) -> int:
        """Return how wide the wide part of an encoder's layer is."""
        feed = max(self._each("feed_forward_length"), default=0)
        return feed if self.is_ungated else 3 * feed

    @property
    def is_ungated(self) -> bool:
        """Say whether it is an encoder of the first kind."""
        return self._architecture == _UNGATED

    @property
    def is_encoder(self) -> bool:
        """Say whether it has no cache at all."""
        return "bert" in self._architecture or self._architecture in _OTHER_ENCODERS

    def number(self, key: str) -> int:
        """Return a whole number of the architecture, 0 where it isn't one."""
        value = self._metadata.get(f"{self._architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def cell_bytes(self, keys: str, values: str) -> list[float]:
        """Return what each layer keeps of a token."""
        heads = self._each("attention.head_count_kv") or self._each("attention.head_count") or [0] * self.layers
        per_head = self.width // self.heads
        key = self.number("attention.key_length") or per_head
        value = self.number("attention.value_length") or per_head
        size = key * KV_TYPES.get(keys, 2.0) + value * KV_TYPES.get(values, 2.0)
        return [count * size for count in heads]

    @property
    def state_bytes(self) -> int:
        """Return what a recurrent model keeps of a sequence, 0 for one that isn't."""
        floats = sizes.state_floats(self.number, self.width)
        return sizes.state_bytes(floats, self.layers) if floats else 0

    @property
    def slides(self) -> list[bool]:
        """Say of each layer whether it looks through the window."""
        if not self.window:
            return [False] * self.layers
        pattern = self._metadata.get(f"{self._architecture}.attention.sliding_window_pattern")
        marks = getattr(pattern, "values", ())
        if isinstance(marks, Sequence) and len(marks) == self.layers:
            return [bool(mark) for mark in marks]
        every = self.number("attention.sliding_window_pattern") or _SLIDES_ALL_BUT_EVERY.get(self._architecture, 0)
        return [every == 0 or layer % every < every - 1 for layer in range(self.layers)]

    def _each(self, key: str) -> list[int]:
        """Return a number of each layer, which may be one for all."""
        value = self._metadata.get(f"{self._architecture}.{key}")
        if isinstance(value, int):
            return [value] * self.layers
        values = getattr(value, "values", ())
        numbers = [int(one) for one in values if isinstance(one, int)] if isinstance(values, tuple) else []
        return numbers if len(numbers) == self.layers else [max(numbers)] * self.layers if numbers else []


def _keeps_whole(shape: Shape, load: Load, weights: int) -> bool:
    if load.whole_window is not None:
        return load.whole_window
    heads = max(shape.number("attention.head_count_kv"), 1)
    per_cell = shape.layers * heads * (shape.width // shape.heads) * 2 * 2
    return sizes.keeps_whole_window(per_cell, load.num_cells, weights)


def _blocks(cells: int) -> int:
    return -(-cells // _CELL_BLOCK) * _CELL_BLOCK


def layers_that_fit(expected: Forecast, free_vram: Sequence[int]) -> int:
    """Return how many layers the GPUs have room for, all of them where everything fits."""
    room = int(sum(free_vram) * _ROOM_ON_GPU) - expected.compute - expected.extra
    if expected.weights + expected.cache <= room:
        return expected.layers
    a_layer = (expected.weights + expected.cache) / max(1, expected.layers)
    return max(0, int(room / a_layer)) if a_layer else 0


def context_that_fits(expected: Forecast, num_ctx: int, free: int) -> int:
    """Return the largest context, in steps of 1,024 tokens, whose cache fits beside the rest; 0 for none.

    Assumes a cache of one context, the least there is.
    """
    rest = expected.fixed_ram - expected.cache
    per_token = expected.cache / max(1, num_ctx)
    fits = int((free - rest) / per_token) if per_token else 0
    return max(0, min(fits, num_ctx) // 1024 * 1024)


def with_gpu(expected: Forecast, layers: int) -> Forecast:
    """Return a forecast with so many layers on GPUs; -1 for all."""
    return replace(expected, on_gpu=expected.layers if layers < 0 else min(layers, expected.layers))


def gib(size: int) -> str:
    """Write a size for a person."""
    return f"{size / 2**30:.1f} GiB"
