"""Guessing ahead for all streams of a step: who is guessed for, by whom, and how far."""

from __future__ import annotations

from collections.abc import Iterable

from corral.runtime.engine.context import Context
from corral.runtime.engine.draft_model import DraftModel
from corral.runtime.engine.drafting import StepCosts, choose
from corral.runtime.engine.llama import MemoryKind
from corral.runtime.engine.sequence import Sequence


class Speculation:
    """Gives sequences their drafts, by a draft model where there is one, else from their own text.

    Belongs to the loop's thread. A recurrent memory cannot take back a wrong guess, so there none is made.
    """

    def __init__(self, context: Context, draft_model: DraftModel | None) -> None:
        self._cuts = context.kind is not MemoryKind.RECURRENT
        self._draft_model = draft_model
        self._costs = StepCosts()

    def observe(self, size: int, elapsed_ns: int) -> None:
        """Learn from a step of `size` tokens, none of them a prompt's."""
        self._costs.observe(size, elapsed_ns)

    def guess(self, running: Iterable[Sequence], room: int) -> None:
        """Set the drafts of the sequences that generate, at most `room` tokens in all."""
        plain = 0
        open_to: list[Sequence] = []
        for sequence in running:
            sequence.draft = []
            if sequence.wanted:
                plain += 1
                if (
                    self._cuts
                    and sequence.speculates
                    and sequence.first_ns
                    and (_insists(sequence) or sequence.trust.ready())
                ):
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
                found.append((sequence, guess))
        if found:
            lengths = self._lengths([(sequence, len(guess)) for sequence, guess in found], plain, room)
            for (sequence, guess), length in zip(found, lengths, strict=True):
                sequence.draft = guess[:length]

    def _ask(self, draft_model: DraftModel, sequences: list[Sequence], plain: int, room: int) -> None:
        limits = [(sequence, draft_model.most(sequence)) for sequence in sequences]
        lengths = self._lengths(limits, plain, room, draft_model.token_ns)
        wanted = [(sequence, length) for sequence, length in zip(sequences, lengths, strict=True) if length]
        if wanted:
            draft_model.draft(wanted)
        else:
            draft_model.doubt_costs()

    def _lengths(self, limits: list[tuple[Sequence, int]], plain: int, room: int, depth_ns: float = 0.0) -> list[int]:
        """Say how many tokens to guess for whom; who is not worth it is left alone for a while."""
        lengths = [0] * len(limits)
        weighed = []
        for index, (sequence, most) in enumerate(limits):
            if not _insists(sequence):
                weighed.append(index)
                continue
            lengths[index] = min(most, room)
            room -= lengths[index]
        guesses = [(limits[index][1], limits[index][0].trust.chance) for index in weighed]
        for index, length in zip(weighed, choose(plain, guesses, self._costs, room, depth_ns), strict=True):
            lengths[index] = length
            if not length and limits[index][1]:
                limits[index][0].trust.rest()
        return lengths


def _insists(sequence: Sequence) -> bool:
    """Say whether a request wants guesses whether they pay or not."""
    return sequence.request.most_guessed > 0
