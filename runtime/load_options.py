"""The texts of options that say how a model is loaded: how they are written, and what they mean.

Every function raises ValueError in words that go behind the option's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from corral.runtime.memory import KV_TYPES

SPLIT_MODES = ("none", "layer", "row", "tensor")
"""How several GPUs share a model (llama.h, llama_split_mode)."""
MOST_DEVICES = 64
MOST_OVERRIDES = 64
LONGEST_OVERRIDE_BYTES = 256
_FLASH: Mapping[str, bool | None] = {
    **{"auto": None, "on": True, "off": False},
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no"), False),
}


class KvTypes(NamedTuple):
    """The types of the cache's keys and of its values."""

    keys: str
    values: str


def kv_types(text: str) -> KvTypes:
    """Read `q8_0`, or `q8_0,f16` for keys and values apart."""
    keys, _, values = text.replace(" ", "").lower().partition(",")
    values = values or keys
    if keys not in KV_TYPES or values not in KV_TYPES:
        raise ValueError(f"must be one of {', '.join(KV_TYPES)}, or two of them for keys and values")
    return KvTypes(keys, values)


def flash_attention(text: str) -> bool | None:
    """Read `auto`, `on` or `off`; None is automatic."""
    try:
        return _FLASH[text.strip().lower()]
    except KeyError:
        raise ValueError("must be auto, on or off") from None


def split_mode(text: str) -> str:
    """Read the name of a way to share a model among GPUs."""
    mode = text.strip().lower()
    if mode not in SPLIT_MODES:
        raise ValueError(f"must be one of {', '.join(SPLIT_MODES)}")
    return mode


def tensor_split(text: str) -> tuple[float, ...]:
    """Read proportions of the GPUs, as `3,1`."""
    try:
        parts = tuple(float(part) for part in text.split(","))
    except ValueError:
        parts = ()
    if not 0 < len(parts) <= MOST_DEVICES or not all(math.isfinite(part) and part >= 0 for part in parts):
        raise ValueError("must be proportions of the GPUs, as in 3,1")
    if not any(parts):
        raise ValueError("must give at least one GPU a part")
    return parts


def override(text: str) -> str:
    """Read `pattern=memory`: a regular expression for names of tensors, and where they go (llama-server's `-ot`)."""
    pattern, _, memory = text.rpartition("=")
    if not pattern.strip() or not memory.strip() or len(text.encode(errors="replace")) > LONGEST_OVERRIDE_BYTES:
        raise ValueError(f"must be pattern=memory of {LONGEST_OVERRIDE_BYTES} bytes at most, as in \\.ffn_up_exps=CPU")
    return f"{pattern.strip()}={memory.strip()}"


CHECKS: Mapping[str, Callable[[str], object]] = {
    "flash_attention": flash_attention,
    "kv_cache_type": kv_types,
    "override_tensor": override,
    "split_mode": split_mode,
    "tensor_split": tensor_split,
}
"""By the names of the options; an empty text is none."""
