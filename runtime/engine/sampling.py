"""Ollama's sampling options as llama.cpp sampler chains, in llama.cpp's order (spec a.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import llama_cpp.llama_cpp as c

from corral.runtime.engine.llama import Sampler
from corral.runtime.engine.protocol import Sampling

_SEED_MASK: Final = 0xFFFF_FFFF  # -1 becomes llama.cpp's "draw a seed"


def new_sampler(sampling: Sampling, num_vocab: int, num_ctx: int, prompt: Sequence[int]) -> Sampler:
    """Make the chain of one request; the penalties already know the end of its prompt."""
    last_n = num_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, num_ctx)
    repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
    penalizes = last_n > 0 and (repeat != 1.0 or sampling.frequency_penalty != 0 or sampling.presence_penalty != 0)
    links: list[object] = []
    if penalizes:
        links.append(
            c.llama_sampler_init_penalties(
                num_vocab, last_n, repeat, sampling.frequency_penalty, sampling.presence_penalty
            )
        )
    if sampling.temperature <= 0:
        links.append(c.llama_sampler_init_greedy())
    else:
        links += _drawing(sampling)
    sampler = Sampler(links)
    if penalizes:
        for token in prompt[-last_n:]:
            sampler.accept(token)
    return sampler


def _drawing(sampling: Sampling) -> list[object]:
    links: list[object] = []
    if sampling.top_k > 0:
        links.append(c.llama_sampler_init_top_k(sampling.top_k))
    if 0 < sampling.typical_p < 1:
        links.append(c.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1:
        links.append(c.llama_sampler_init_top_p(max(sampling.top_p, 0.0), 1))
    if sampling.min_p > 0:
        links.append(c.llama_sampler_init_min_p(min(sampling.min_p, 1.0), 1))
    links.append(c.llama_sampler_init_temp(sampling.temperature))
    links.append(c.llama_sampler_init_dist(sampling.seed & _SEED_MASK))
    return links
