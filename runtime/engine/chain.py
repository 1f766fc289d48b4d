"""llama.cpp's samplers: a chain for each request, filled link by link."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any, Final

import llama_cpp.llama_cpp as c

from corral.runtime.engine.context import Context
from corral.runtime.engine.llama import Model

_MIROSTAT_M: Final = 100


class Sampler:
    """A llama.cpp sampler chain, filled link by link; belongs to the loop's thread.

    `remembers` says that what it draws depends on what it drew before. Making one or adding to it raises MemoryError
    where llama.cpp returns nothing.
    """

    remembers: bool = False

    def __init__(self) -> None:
        self._chain: Any = _checked(c.llama_sampler_chain_init(c.llama_sampler_chain_default_params()))

    def add_penalties(self, num_vocab: int, last_n: int, repeat: float, frequency: float, presence: float) -> None:
        """Make what came up among the last `last_n` tokens less likely."""
        self.remembers = True
        self._add(c.llama_sampler_init_penalties(num_vocab, last_n, repeat, frequency, presence))

    def add_bias(self, num_vocab: int, biases: Sequence[tuple[int, float]]) -> None:
        """Add to the logits of some tokens."""
        pairs = (c.llama_logit_bias * len(biases))(*(c.llama_logit_bias(token, bias) for token, bias in biases))
        self._add(c.llama_sampler_init_logit_bias(num_vocab, len(biases), pairs))

    def add_dry(
        self, model: Model, multiplier: float, base: float, allowed: int, last_n: int, breakers: Sequence[str]
    ) -> None:
        """Make going on with a repetition longer than `allowed` tokens less likely; no repetition spans a breaker.

        Walks the vocabulary for every breaker: 3 ms each for 50,000 tokens.
        """
        self.remembers = True
        texts = (ctypes.c_char_p * max(1, len(breakers)))(*(one.encode(errors="replace") for one in breakers))
        self._add(c.llama_sampler_init_dry(model.vocab, multiplier, base, allowed, last_n, texts, len(breakers)))

    def add_top_n_sigma(self, n: float) -> None:
        """Keep the tokens whose logits are within `n` standard deviations of the highest."""
        self._add(c.llama_sampler_init_top_n_sigma(n))

    def add_xtc(self, probability: float, threshold: float, seed: int) -> None:
        """Now and then take out all but the least likely of the tokens likelier than `threshold`."""
        self._add(c.llama_sampler_init_xtc(probability, threshold, 1, seed))

    def add_dynamic_temperature(self, temperature: float, spread: float, exponent: float) -> None:
        """Sharpen or flatten the distribution by how even it is."""
        self._add(c.llama_sampler_init_temp_ext(temperature, spread, exponent))

    def add_mirostat(self, version: int, num_vocab: int, seed: int, tau: float, eta: float) -> None:
        """Draw so that the surprise stays near `tau`."""
        self.remembers = True
        if version == 1:
            self._add(c.llama_sampler_init_mirostat(num_vocab, seed, tau, eta, _MIROSTAT_M))
        else:
            self._add(c.llama_sampler_init_mirostat_v2(seed, tau, eta))

    def add_top_k(self, k: int) -> None:
        """Keep the `k` likeliest tokens."""
        self._add(c.llama_sampler_init_top_k(k))

    def add_typical(self, p: float) -> None:
        """Keep the tokens of typical surprise whose probabilities make `p`."""
        self._add(c.llama_sampler_init_typical(p, 1))

    def add_top_p(self, p: float) -> None:
        """Keep the likeliest tokens whose probabilities make `p`."""
        self._add(c.llama_sampler_init_top_p(p, 1))

    def add_min_p(self, p: float) -> None:
        """Keep the tokens at least `p` times as likely as the likeliest."""
        self._add(c.llama_sampler_init_min_p(p, 1))

    def add_temperature(self, temperature: float) -> None:
        """Sharpen or flatten the distribution."""
        self._add(c.llama_sampler_init_temp(temperature))

    def add_draw(self, seed: int) -> None:
        """Draw from the distribution; the unsigned 32-bit -1 has llama.cpp pick a seed."""
        self._add(c.llama_sampler_init_dist(seed))

    def add_greedy(self) -> None:
        """Take the likeliest token."""
        self._add(c.llama_sampler_init_greedy())

    def _add(self, link: Any) -> None:
        c.llama_sampler_chain_add(self._chain, _checked(link))  # which then owns it

    def sample(self, context: Context, index: int) -> int:
        """Draw a token from the logits of the batch's token `index` and remember it."""
        began = time.monotonic_ns()
        token = int(c.llama_sampler_sample(self._chain, context.pointer, index))
        context.llama_ns += time.monotonic_ns() - began
        return token

    def accept(self, token: int) -> None:
        """Let the penalties know of a token that was not drawn here."""
        c.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain."""
        chain, self._chain = self._chain, None
        if chain:
            c.llama_sampler_free(chain)


class Likeliest(Sampler):
    """Takes the likeliest token of its biased logits: what a chain of a bias and `add_greedy` does, without a list of
    the whole vocabulary a token (of 262,144 tokens that takes half a millisecond, and this a twentieth of it).
    """

    def __init__(self, biases: Sequence[tuple[int, float]]) -> None:
        self._biases = biases

    def sample(self, context: Context, index: int) -> int:
        """Return the likeliest token; the first of equal ones, as llama.cpp does. The logits stay as they are."""
        logits = context.logits(index)
        before = [(token, logits[token]) for token, _ in self._biases]
        for token, bias in self._biases:
            logits[token] += bias
        likeliest = int(logits.argmax())
        for token, logit in reversed(before):
            logits[token] = logit
        return likeliest

    def accept(self, token: int) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """There is no chain."""


def _checked(pointer: Any) -> Any:
    if not pointer:
        raise MemoryError("llama.cpp made no sampler")
    return pointer
