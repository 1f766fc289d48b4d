"""Ollama's sampling options as llama.cpp sampler chains, in llama.cpp's order (spec a.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.llama import Sampler
from corral.runtime.engine.protocol import Sampling

_SEED_MASK: Final = 0xFFFF_FFFF  # -1 becomes llama.cpp's "pick a seed"


def new_sampler(sampling: Sampling, num_vocab: int, num_ctx: int, prompt: Sequence[int]) -> Sampler:
    """Make the chain of one request; the penalties already know the end of its prompt."""
    sampler = Sampler()
    last_n = num_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, num_ctx)
    repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
    frequency, presence = sampling.frequency_penalty, sampling.presence_penalty
    penalizes = last_n > 0 and (repeat, frequency, presence) != (1.0, 0.0, 0.0)
    if penalizes:
        sampler.add_penalties(num_vocab, last_n, repeat, frequency, presence)
    if sampling.temperature <= 0:
        sampler.add_greedy()
    else:
        _add_drawing(sampler, sampling)
    if penalizes:
        for token in prompt[-last_n:]:
            sampler.accept(token)
    return sampler


def _add_drawing(sampler: Sampler, sampling: Sampling) -> None:
    if sampling.top_k > 0:
        sampler.add_top_k(sampling.top_k)
    if 0 < sampling.typical_p < 1:
        sampler.add_typical(sampling.typical_p)
    if sampling.top_p < 1:
        sampler.add_top_p(max(sampling.top_p, 0.0))
    if sampling.min_p > 0:
        sampler.add_min_p(min(sampling.min_p, 1.0))
    sampler.add_temperature(sampling.temperature)
    sampler.add_draw(sampling.seed & _SEED_MASK)
