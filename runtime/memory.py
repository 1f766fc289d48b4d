"""How much memory a model will need, from its GGUF header."""

from __future__ import annotations

from collections.abc import Mapping

_BYTES_PER_VALUE = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
CACHE_SHARE = 0.25
"""The part of free memory that the cache of further streams may take, beyond the one that must fit."""


def cache_bytes_per_token(metadata: Mapping[str, object], kv_type: str) -> float:
    """Bytes the key-value cache takes for one token: keys and values of every layer, as llama.cpp lays them out.

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
    return layers * kv_heads * (key + value) * _BYTES_PER_VALUE.get(kv_type, 2.0)


def choose_cells(num_ctx: int, num_parallel: int, bytes_per_token: float, free_bytes: int) -> int:
    """How many tokens the cache shall hold: one whole context at least, `num_parallel` of them where memory allows."""
    wanted = num_ctx * num_parallel
    if bytes_per_token <= 0:
        return wanted
    affordable = int(free_bytes * CACHE_SHARE / bytes_per_token)
    return max(num_ctx, min(wanted, affordable))
