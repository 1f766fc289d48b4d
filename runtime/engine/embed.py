"""From an `Embed` to texts in tokens, and from what was computed of them to vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from corral.runtime.engine.llama import Model
from corral.runtime.engine.pooler import TOO_LONG, Job, Pooler
from corral.runtime.engine.prefix import common_length
from corral.runtime.engine.protocol import Embed, Embedded, FromRunner, Refused


class _EmbedJob(Job):
    """The vectors that are there already, as bytes."""

    def __init__(self, request_id: int, texts: list[list[int]], cut: int) -> None:
        super().__init__(request_id, texts)
        self._cut = cut
        self._vectors: list[bytes] = []

    def keep(self, values: Sequence[float]) -> None:
        self._vectors.append(normalised(values))

    def answer(self, prompt_tokens: int, prompt_ns: int) -> FromRunner:
        if not all(self._vectors):
            return Refused(self.id, "bad_request", "embedding contains NaN or Inf values")
        return Embedded(self.id, self._vectors, prompt_tokens, prompt_ns, self._cut)


class Embedder:
    """Embeds with one model; belongs to the runner's main thread."""

    def __init__(self, model: Model, pooler: Pooler, send: Callable[[FromRunner], None]) -> None:
        self._model = model
        self._pooler = pooler
        self._send = send
        self._specials = model.tokenize_whole("")

    def submit(self, message: Embed) -> None:
        """Take a request, or refuse it."""
        if self._model.ranks:
            self._send(Refused(message.id, "bad_request", "the model ranks texts; it cannot be used to embed them"))
            return
        longest = self._pooler.longest(message.num_ctx)
        texts = []
        cut = 0
        for text in message.texts:
            try:
                tokens = self._model.tokenize_whole(text) or [self._model.first_token]
            except ValueError as error:
                self._send(Refused(message.id, "bad_request", str(error)))
                return
            if len(tokens) > longest:
                if not message.truncate:
                    self._send(Refused(message.id, "too_long", TOO_LONG, len(tokens)))
                    return
                tokens = cut_end(tokens, self._specials, longest)
                cut += 1
            texts.append(tokens)
        self._pooler.add(_EmbedJob(message.id, texts, cut))


def normalised(vector: Sequence[float]) -> bytes:
    """Return a vector of length 1 as float32 values; b"" where it holds NaN or infinity."""
    values = np.array(vector, np.float64)
    length = math.sqrt(values @ values)
    if not math.isfinite(length):
        return b""
    return (values / (length or 1.0)).astype(np.float32).tobytes()


def cut_end(tokens: list[int], specials: list[int], length: int) -> list[int]:
    """Return a text cut to `length` tokens with what belongs at its end; `specials` are the tokens of an empty text."""
    tail = len(specials) - common_length(specials, tokens)
    tail = min(tail, length - 1)
    return tokens[: length - tail] + tokens[len(tokens) - tail :]
