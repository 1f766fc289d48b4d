"""Qwen 2 and 3: Llama's form with biases, or norms, on queries and keys; turned as Hugging Face does."""

from __future__ import annotations

import gguf

from corral.store.convert.family import Family


class Qwen2(Family):
    """Qwen 2 and 2.5."""

    architecture = gguf.MODEL_ARCH.QWEN2


class Qwen3(Family):
    """Qwen 3."""

    architecture = gguf.MODEL_ARCH.QWEN3
