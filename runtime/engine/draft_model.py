"""A small model that guesses what a large one will say, a few tokens ahead, for all streams at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from corral.runtime.engine.context import Batch, Context, Decoded
from corral.runtime.engine.devices import Devices
from corral.runtime.engine.llama import LoadError, MemoryKind, Model
from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.params import ModelParams
from corral.runtime.engine.prefix import common_length
from corral.runtime.engine.protocol import Load, Placement
from corral.runtime.engine.sequence import Sequence

DEFAULT_DRAFT: Final = 4
"""Tokens guessed ahead at most where nobody says how many (spec a.9)."""

_SURE: Final = 0.75
"""How likely the small model must find a token to guess it, as in llama.cpp (`p_min`)."""

_FADE: Final = 0.9


@dataclass(slots=True)
class _Held:
    """What the small model's cache holds of a sequence; the first `same` tokens are known to be the sequence's."""

    sequence: Sequence
    tokens: list[int] = field(default_factory=list)
    same: int = 0
    lost: int = 0


class DraftModel:
    """Guesses by the likeliest token; belongs to the loop's thread.

    It computes a sequence under the slot it has in the large model's context. What of its cache is no longer the
    sequence's beginning is found and cut when the sequence is guessed for again, so nobody has to tell it of
    rejections, shifts and ends.
    """

    def __init__(self, model: Model, context: Context, most_token: int) -> None:
        """`most_token` is the highest token the large model knows."""
        self._model = model
        self._context = context
        self._most_token = most_token
        self._batch = Batch(context.num_batch)
        self._held: dict[int, _Held] = {}
        self.token_ns = 0.0
        self.size_bytes = model.size_bytes

    def most(self, sequence: Sequence) -> int:
        """Return how many tokens may be guessed for a sequence."""
        return sequence.guessable if sequence.request.most_guessed > 0 else min(sequence.guessable, DEFAULT_DRAFT)

    def doubt_costs(self) -> None:
        """Note that guessing was too dear: what was measured is believed less the longer ago that was."""
        self.token_ns *= _FADE

    def draft(self, wanted: list[tuple[Sequence, int]]) -> None:
        """Give each sequence a draft of up to so many tokens: fewer where the small model is not sure.

        One whose text is far ahead of what is computed here gets none yet, and part of it is computed.
        """
        rows = [(self._meet(sequence), most) for sequence, most in wanted]
        ahead = [(held, most, held.sequence.tokens[len(held.tokens) :]) for held, most in rows]
        while ahead:
            began = time.monotonic_ns()
            outputs = self._compute([(held, tokens) for held, _most, tokens in ahead])
            guesses = []
            for (held, most, _tokens), output in zip(ahead, outputs, strict=True):
                token = self._likeliest(output) if output >= 0 else None
                if token is not None:
                    held.sequence.draft.append(token)
                    if len(held.sequence.draft) < most:
                        guesses.append((held, most, [token]))
            if self._batch.size <= 2 * len(ahead):  # more is catching up
                self._observe(time.monotonic_ns() - began)
            ahead = guesses

    def _meet(self, sequence: Sequence) -> _Held:
        """Bring the cache back to where it agrees with a sequence, with at least one token left to compute."""
        held = self._held.get(sequence.slot)
        if held is None or held.sequence is not sequence or held.lost != len(sequence.lost):
            tokens = held.tokens if held is not None else []
            held = self._held[sequence.slot] = _Held(sequence, tokens, 0, len(sequence.lost))
        start = held.same
        same = start + common_length(held.tokens[start:], sequence.tokens[start:])
        held.same = same = min(same, len(sequence.tokens) - 1)
        if same < len(held.tokens):
            if not self._context.cut(sequence.slot, same):
                held.same = same = 0
            del held.tokens[same:]
        return held

    def _compute(self, rows: list[tuple[_Held, list[int]]]) -> list[int]:
        """Compute tokens behind what is held; returns where each row's last logits are, -1 where it is not done."""
        self._batch.clear()
        outputs, counts = [], []
        for held, tokens in rows:
            count = min(len(tokens), self._context.num_batch - self._batch.size)
            counts.append(count)
            whole = count == len(tokens)
            place = -1
            if count:
                place = self._batch.add(held.sequence.slot, tokens[:count], len(held.tokens), output=whole)
            outputs.append(place if whole else -1)
        outcome = self._context.decode(self._batch)
        if outcome is Decoded.NO_CELLS:
            self._forget([slot for slot in self._held if all(slot != held.sequence.slot for held, _ in rows)])
            outcome = self._context.decode(self._batch)
        if outcome is not Decoded.OK:
            self._forget([held.sequence.slot for held, _tokens in rows])
            return [-1] * len(rows)
        for (held, tokens), count in zip(rows, counts, strict=True):
            held.tokens += tokens[:count]
        return outputs

    def _likeliest(self, output: int) -> int | None:
        """Return the token the small model is sure of, None where it is not or the text would end."""
        logits = self._context.logits(output)
        token = int(logits.argmax())
        probability = 1.0 / float(np.exp(logits - logits[token]).sum(dtype=np.float64))
        if probability < _SURE or token > self._most_token or self._model.is_end(token):
            return None
        return token

    def _observe(self, elapsed_ns: int) -> None:
        self.token_ns = (3 * self.token_ns + elapsed_ns) / 4 if self.token_ns else float(elapsed_ns)

    def _forget(self, slots: list[int]) -> None:
        for slot in slots:
            del self._held[slot]
            self._context.forget(slot)


def load_draft_model(load: Load, target: Model, context: Context, log: EngineLog, devices: Devices) -> DraftModel:
    """Load the small model of a `Load`. Raises LoadError where it cannot be loaded or can't guess for `target`."""
    if context.kind is MemoryKind.RECURRENT:
        raise LoadError("a recurrent memory cannot take back a wrong guess")
    placement = Placement(gpu_layers=load.placement.gpu_layers, main_gpu=load.placement.main_gpu)
    small = msgspec.structs.replace(load, path=load.draft_path, whole_window=True, placement=placement)
    model = Model(small.path, ModelParams(small, devices).struct, log, lambda _fraction: True)
    if model.memory_kind is MemoryKind.RECURRENT or not target.speaks_like(model):
        reason = "its vocabulary is another" if not target.speaks_like(model) else "its memory is recurrent"
        model.close()
        raise LoadError(reason)
    return DraftModel(model, Context(model, small, log), target.num_vocab - 1)
