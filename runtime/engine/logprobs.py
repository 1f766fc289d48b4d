"""How likely the model found each token it said, before any sampling option had its way (spec a.7)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import Logprob

LOWEST: Final = -9999.0
"""Stands for a token that cannot come: JSON has no infinity."""


class LogprobStream:
    """The log probabilities of one answer, let go with the text they belong to; belongs to the loop's thread."""

    __slots__ = ("_held", "_logprobs", "_model", "_num_top", "_released", "_said")

    def __init__(self, model: Model, num_top: int) -> None:
        self._model = model
        self._num_top = min(num_top, model.num_vocab)
        self._logprobs = np.empty(0, np.float32)
        self._held: list[tuple[int, Logprob]] = []
        self._said = 0
        self._released = 0

    def look(self, logits: npt.NDArray[np.float32]) -> None:
        """Take in what the next token is drawn from, before a mask is put on it."""
        highest = logits.max()
        total = float(np.exp(logits - highest).sum(dtype=np.float64))
        self._logprobs = logits - np.float32(highest + np.log(total))

    def note(self, token: int) -> None:
        """Note the token that was drawn."""
        top: list[Logprob] = []
        if self._num_top:
            likeliest = np.argpartition(self._logprobs, -self._num_top)[-self._num_top :]
            order = likeliest[np.argsort(-self._logprobs[likeliest], kind="stable")]
            top = [self._of(int(one)) for one in order]
        own = self._of(token)
        self._held.append((self._said, Logprob(own.piece, own.logprob, top)))
        self._said += len(own.piece)

    def release(self, text: str, *, rest: bool) -> list[Logprob]:
        """Return those of the tokens that begin within the text let go so far; with `rest`, all that are left."""
        self._released += len(text.encode(errors="replace"))
        count = sum(start < self._released for start, _one in self._held) if not rest else len(self._held)
        freed, self._held = self._held[:count], self._held[count:]
        return [one for _start, one in freed]

    def _of(self, token: int) -> Logprob:
        return Logprob(self._model.piece(token), max(float(self._logprobs[token]), LOWEST))
