"""Sampling options as llama.cpp sampler chains, in llama.cpp's order (spec a.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corral.runtime.engine.chain import Likeliest, Sampler
from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import Sampling

_SEED_MASK: Final = 0xFFFF_FFFF  # -1 becomes llama.cpp's "pick a seed"


def new_sampler(sampling: Sampling, model: Model, num_ctx: int, prompt: Sequence[int]) -> Sampler:
    """Make the chain of one request; what looks back already knows the end of its prompt.

    May walk the vocabulary, so it is called off the loop. Raises ValueError where `logit_bias` names no token.
    """
    biases = _biases(sampling, model)
    penalized, discouraged = _penalized(sampling, num_ctx), _discouraged(sampling, num_ctx)
    looks_back = max(penalized, discouraged)
    if sampling.temperature <= 0 and not looks_back:
        return Likeliest(biases)
    sampler = Sampler()
    if biases:
        sampler.add_bias(model.num_vocab, biases)
    if penalized:
        repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
        frequency, presence = sampling.frequency_penalty, sampling.presence_penalty
        sampler.add_penalties(model.num_vocab, penalized, repeat, frequency, presence)
    if discouraged:
        breakers, allowed = sampling.dry_sequence_breakers, sampling.dry_allowed_length
        sampler.add_dry(model, sampling.dry_multiplier, sampling.dry_base, allowed, discouraged, breakers)
    seed = sampling.seed & _SEED_MASK
    if sampling.temperature <= 0:
        sampler.add_greedy()
    elif sampling.mirostat > 0:
        sampler.add_temperature(sampling.temperature)
        sampler.add_mirostat(sampling.mirostat, model.num_vocab, seed, sampling.mirostat_tau, sampling.mirostat_eta)
    else:
        _add_drawing(sampler, sampling, seed)
    if looks_back:
        for token in prompt[-looks_back:]:
            sampler.accept(token)
    return sampler


def _biases(sampling: Sampling, model: Model) -> list[tuple[int, float]]:
    """Return what is added to which token; of a text it is added to every token, as llama.cpp's server does."""
    biases = []
    for key, bias in sampling.logit_bias:
        if key.isascii() and key.isdigit():
            if not model.is_token(int(key)):
                raise ValueError(f"logit_bias names token {key}, which this model has not")
            biases.append((int(key), bias))
        else:
            biases += [(token, bias) for token in model.tokenize(key, begin=False, special=False)]
    return biases


def _reach(last_n: int, num_ctx: int) -> int:
    return num_ctx if last_n < 0 else min(last_n, num_ctx)


def _penalized(sampling: Sampling, num_ctx: int) -> int:
    """Return how far back the penalties look, 0 where there are none."""
    nothing = sampling.frequency_penalty == sampling.presence_penalty == 0
    if nothing and (sampling.repeat_penalty <= 0 or sampling.repeat_penalty == 1):
        return 0
    return _reach(sampling.repeat_last_n, num_ctx)


def _discouraged(sampling: Sampling, num_ctx: int) -> int:
    """Return how far back repeated sequences are looked for, 0 where they are welcome."""
    wanted = sampling.dry_multiplier > 0 and sampling.dry_base >= 1
    return _reach(sampling.dry_penalty_last_n, num_ctx) if wanted else 0


def _add_drawing(sampler: Sampler, sampling: Sampling, seed: int) -> None:
    if sampling.top_n_sigma > 0:
        sampler.add_top_n_sigma(sampling.top_n_sigma)
    if sampling.top_k > 0:
        sampler.add_top_k(sampling.top_k)
    if 0 < sampling.typical_p < 1:
        sampler.add_typical(sampling.typical_p)
    if sampling.top_p < 1:
        sampler.add_top_p(max(sampling.top_p, 0.0))
    if sampling.min_p > 0:
        sampler.add_min_p(min(sampling.min_p, 1.0))
    if sampling.xtc_probability > 0 and sampling.xtc_threshold <= 0.5:
        sampler.add_xtc(sampling.xtc_probability, sampling.xtc_threshold, seed)
    if sampling.dynatemp_range > 0:
        sampler.add_dynamic_temperature(sampling.temperature, sampling.dynatemp_range, sampling.dynatemp_exponent)
    else:
        sampler.add_temperature(sampling.temperature)
    sampler.add_draw(seed)
