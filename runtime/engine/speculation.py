"""Guessing ahead for all streams of a step: who is guessed for, by whom, and how far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corral.runtime.engine.context import Context
from corral.runtime.engine.draft_model import DraftModel
from corral.runtime.engine.drafting import StepCosts, choose
from corral.runtime.engine.llama import MemoryKind
from corral.runtime.engine.sequence import Sequence

_STRIDE: Final = 8
"""How many tokens larger than any before a step with guesses may be: what it costs is an estimate."""

_MANY: Final = 32
"""Prompt tokens in a step from which on it says what one of them costs."""


class Speculation:
    """Gives sequences their drafts, by a draft model where there is one, else from their own text.

    Belongs to the loop's thread. A recurrent memory cannot take back a wrong guess, so there none is made.
    """

    def __init__(self, context: Context, draft_model: DraftModel | None) -> None:
        self._cuts = context.kind is not MemoryKind.RECURRENT
        self._draft_model = draft_model
        self._costs = StepCosts()

    def observe(self, size: int, prompt_tokens: int, elapsed_ns: int) -> None:
        """Learn from a step of `size` tokens."""
        if not prompt_tokens:
            self._costs.observe(size, elapsed_ns)
        elif prompt_tokens >= _MANY:
            self._costs.observe_prompt(size, elapsed_ns)

    def guess(self, running: Iterable[Sequence], room: int) -> None:
        """Set the drafts of the sequences that generate, at most `room` tokens in all."""
        plain = 0
        open_to: list[Sequence] = []
        for sequence in running:
            sequence.draft = []
            if sequence.wanted:
                plain += 1
                if self._cuts and sequence.speculates and sequence.first_ns:
                    open_to.append(sequence)
        if room <= 0 or not open_to or not self._costs.of(plain):
            return
        if self._draft_model is not None:
            self._ask(self._draft_model, open_to, plain, room)
        else:
            self._look_up(open_to, plain, room)

    def _look_up(self, sequences: list[Sequence], plain: int, room: int) -> None:
        found = []
        for sequence in sequences:
            lookup = sequence.request.lookup
            if lookup is not None and (guess := lookup.guess(sequence.guessable)):
                found.append((sequence, guess, lookup.chance))
        if found:
            limits = [(sequence, len(guess), chance) for sequence, guess, chance in found]
            for (sequence, guess, _chance), length in zip(found, self._lengths(limits, plain, room), strict=True):
                sequence.draft = guess[:length]

    def _ask(self, draft_model: DraftModel, sequences: list[Sequence], plain: int, room: int) -> None:
        limits = [
            (sequence, most, sequence.trust.chance)
            for sequence in sequences
            if (most := draft_model.most(sequence)) and (_insists(sequence) or sequence.trust.ready())
        ]
        if not limits:
            return
        wanted = []
        for (sequence, _most, _chance), length in zip(
            limits, self._lengths(limits, plain, room, draft_model.token_ns), strict=True
        ):
            if length:
                wanted.append((sequence, length))
            else:
                sequence.trust.rest()
        if wanted:
            draft_model.draft(wanted)
        else:
            draft_model.doubt_costs()

    def _lengths(
        self, limits: list[tuple[Sequence, int, float]], plain: int, room: int, depth_ns: float = 0.0
    ) -> list[int]:
        """Say how many tokens to guess for whom, from how many there may be and how likely each is right."""
        lengths = [0] * len(limits)
        weighed = []
        for index, (sequence, most, chance) in enumerate(limits):
            if _insists(sequence):
                lengths[index] = min(most, room)
                room -= lengths[index]
            else:
                weighed.append((index, most, chance))
        untried = max(plain, self._costs.largest) + _STRIDE - plain
        guesses = [(most, chance) for _index, most, chance in weighed]
        chosen = choose(plain, guesses, self._costs, min(room, untried), depth_ns)
        for (index, _most, _chance), length in zip(weighed, chosen, strict=True):
            lengths[index] = length
        return lengths


def _insists(sequence: Sequence) -> bool:
    """Say whether a request wants guesses whether they pay or not."""
    return sequence.request.most_guessed > 0
