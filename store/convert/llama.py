"""Llama, Mistral and Mixtral."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from corral.store.convert.checkpoint import Checkpoint
from corral.store.convert.family import Family
from corral.store.convert.safetensors import StoredTensor
from corral.store.convert.stream import Weight
from corral.store.errors import ConversionError

_MOST_EXPERTS = 1024
_EXPERT = re.compile(r"(?:model\.)?layers\.(\d{1,4})\.block_sparse_moe\.experts\.(\d{1,4})\.w([123])\.weight")


class Llama(Family):
    """Llama and what is built like it."""

    architecture = gguf.MODEL_ARCH.LLAMA

    def weight(self, name: str, sources: list[tuple[str, StoredTensor]]) -> Weight:
        """As any; the rows of queries and keys in the order llama.cpp turns them by."""
        made = super().weight(name, sources)
        for part, heads in (("attn_q.", self.heads), ("attn_k.", self.kv_heads)):
            if f".{part}" in name:
                return Weight(made.name, made.shape, made.sources, rearrange=for_turning(name, made.shape, heads))
        return made


class Mixtral(Llama):
    """Llama with experts, whose matrices lie one behind the other in a single tensor."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.experts = self.config.number("num_local_experts", least=1, most=_MOST_EXPERTS)

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """As Llama, and the experts."""
        made = super().add_metadata(writer)
        writer.add_expert_count(self.experts)
        writer.add_expert_used_count(self.config.number("num_experts_per_tok", least=1, most=self.experts))
        return made

    def gguf_name(self, name: str) -> str | None:
        """As any; all experts of a layer share a name."""
        found = _EXPERT.fullmatch(name)
        if found is None:
            return super().gguf_name(name)
        part = {"1": "gate", "2": "down", "3": "up"}[found[3]]
        return f"blk.{int(found[1])}.ffn_{part}_exps.weight" if int(found[1]) < self.layers else None

    def weight(self, name: str, sources: list[tuple[str, StoredTensor]]) -> Weight:
        """As Llama; experts in their order."""
        if not name.endswith("_exps.weight"):
            return super().weight(name, sources)
        placed = {int(found[2]): tensor for one, tensor in sources if (found := _EXPERT.fullmatch(one))}
        shapes = {tensor.shape for tensor in placed.values()}
        if set(placed) != set(range(self.experts)) or len(sources) != self.experts or len(shapes) != 1:
            raise ConversionError(f"{name} is made of {len(sources)} experts, not of {self.experts} of one shape")
        (shape,) = shapes
        return Weight(name, (self.experts, *shape), tuple(placed[number] for number in range(self.experts)))


def for_turning(name: str, shape: tuple[int, ...], heads: int) -> partial[NDArray[Any]]:
    """The new order of a query's or key's rows: llama.cpp turns neighbours, Hugging Face the halves of a head.

    Raises:
        ConversionError: the rows do not divide into heads.
    """
    if not shape or shape[0] % (2 * heads):
        raise ConversionError(f"{name} does not divide into {heads} heads")
    return partial(_interleaved, heads=heads)


def _interleaved(values: NDArray[Any], heads: int) -> NDArray[Any]:
    rows = values.shape[0] // heads // 2
    return np.swapaxes(values.reshape(heads, 2, rows, *values.shape[1:]), 1, 2).reshape(values.shape)
