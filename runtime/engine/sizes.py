"""How large what a model computes with will be: rules that the runner goes by, and its parent to know beforehand.

Pure integers, no llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SPARE_SEQUENCES: Final = 48
"""Sequences beyond those that run, to keep finished ones as cache; they cost no cells until they have some."""
MOST_SEQUENCES: Final = 256
MOST_TEXTS: Final = 64
"""Texts that are pooled in one batch."""
SMALLEST_BATCH: Final = 32

_WHOLE_WINDOW_BYTES: Final = 256 * 1024 * 1024
_CHECKPOINT_BYTES: Final = 256 * 1024 * 1024
_UNKNOWN_STATE: Final = 160_000


def keeps_whole_window(bytes_per_cell: int, num_cells: int, model_bytes: int) -> bool:
    """Say whether a sliding-window cache of full size costs little enough to be worth its freedom to be cut.

    `bytes_per_cell` are for half-precision keys and values in every layer.
    """
    return bytes_per_cell * num_cells <= max(_WHOLE_WINDOW_BYTES, model_bytes // 4)


def batch_size(num_batch: int, num_sequences: int) -> int:
    """Return how many tokens a batch holds: llama.cpp wants one of each sequence there may be."""
    return max(SMALLEST_BATCH, num_batch, num_sequences)


def slots(num_sequences: int, num_batch: int, *, spare: int) -> int:
    """Return how many sequences the cache knows."""
    return min(num_sequences + spare, batch_size(num_batch, num_sequences), MOST_SEQUENCES)


def state_floats(number: Callable[[str], int], width: int) -> int:
    """Return how many numbers a layer's recurrent state has (llama.cpp: `llama_hparams::n_embd_r`, `_s`).

    `number` gives a number of the architecture's metadata, 0 where there is none; `width` is the embedding's. 0 where
    the metadata names none of the known parts.
    """
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    groups, window = number("ssm.group_count"), max(0, number("ssm.conv_kernel") - 1)
    floats = window * (inner + 2 * groups * state) + state * inner
    return floats + (number("shortconv.l_cache") + number("wkv.head_size")) * width


def state_bytes(floats: int, layers: int) -> int:
    """Return about how many bytes a sequence's recurrent state takes.

    Where its parts are not known it is taken for two thirds of a mebibyte a layer.
    """
    return layers * 4 * (floats or _UNKNOWN_STATE)


def spare_states(model_bytes: int, a_state: int) -> int:
    """Return for how many finished sequences and checkpoints a recurrent model's states may take memory."""
    return min(SPARE_SEQUENCES, max(_CHECKPOINT_BYTES, model_bytes // 8) // max(1, a_state))
