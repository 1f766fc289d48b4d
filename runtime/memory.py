"""How much memory a model will need, from its GGUF header."""

from __future__ import annotations

from collections.abc import Mapping

KV_TYPES: Mapping[str, float] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
    "q4_1": 20 / 32,
    "iq4_nl": 18 / 32,
    "q5_0": 22 / 32,
    "q5_1": 24 / 32,
}
"""What a key-value cache may be made of, with the bytes of a value."""
WHOLE_KV_TYPES = ("f32", "f16", "bf16")
"""Those that values may have without flash attention."""
CACHE_SHARE = 0.25
"""The part of free memory that the cache of further streams may take, beyond the one that must fit."""


def cache_bytes_per_token(metadata: Mapping[str, object], kv_type: str, kv_type_v: str = "") -> float:
    """Bytes the key-value cache takes for one token: keys and values of every layer, as llama.cpp lays them out.

    `kv_type_v` is the values' type where it is not that of the keys.

    An upper bound for models with a sliding window or recurrent layers. 0 where the header does not say.
    """
    architecture = metadata.get("general.architecture")

    def number(key: str) -> int:
        value = metadata.get(f"{architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    layers, width, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    if not (layers and width and heads):
        return 0.0
    kv_heads = number("attention.head_count_kv") or heads
    key = number("attention.key_length") or width // heads
    value = number("attention.value_length") or width // heads
    key_size, value_size = KV_TYPES.get(kv_type, 2.0), KV_TYPES.get(kv_type_v or kv_type, 2.0)
    return layers * kv_heads * (key * key_size + value * value_size)


def choose_cells(num_ctx: int, num_parallel: int, bytes_per_token: float, free_bytes: int) -> int:
    """How many tokens the cache shall hold: one whole context at least, `num_parallel` of them where memory allows."""
    wanted = num_ctx * num_parallel
    if bytes_per_token <= 0:
        return wanted
    affordable = int(free_bytes * CACHE_SHARE / bytes_per_token)
    return max(num_ctx, min(wanted, affordable))
