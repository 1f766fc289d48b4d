"""Drawing tokens from a step's logits: those guessed ahead for as long as they are right, and one more."""

from __future__ import annotations

from collections.abc import Callable

from corral.runtime.engine.context import Context
from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import Finished, Piece
from corral.runtime.engine.sequence import Sequence


class Drawing:
    """Draws for all streams of one model; belongs to the loop's thread."""

    def __init__(self, model: Model, context: Context, restart: Callable[[Sequence], None]) -> None:
        """`restart` has a sequence whose memory was lost computed again."""
        self._model = model
        self._context = context
        self._restart = restart

    def draw(self, sequence: Sequence, output: int, pieces: list[Piece], now: int) -> Finished | None:
        """Draw a sequence's next tokens and append their texts to `pieces`; returns its end if one was the last.

        The logits at `output` follow its last token, those after them its draft. Each token is drawn from the logits
        of its own place, as without a draft; one that is not the guessed one makes the rest of them worthless.
        Raises GrammarFailed.
        """
        if not sequence.first_ns:
            sequence.first_ns = now
        if not sequence.request.most_output:
            return _end_of(sequence, "length", now)
        draft, sequence.draft = sequence.draft, []
        accepted = 0
        try:
            reason = self._draw_one(sequence, output, pieces)
            while accepted < len(draft) and sequence.tokens[-1] == draft[accepted]:
                accepted += 1
                if reason:
                    break
                reason = self._draw_one(sequence, output + accepted, pieces)
        finally:
            if draft:
                self._settle(sequence, len(draft), accepted)
        if not reason:
            return None
        unsaid = reason == "stop" and self._model.is_end(sequence.tokens[-1])
        return _end_of(sequence, reason, now, unsaid=int(unsaid))

    def _draw_one(self, sequence: Sequence, output: int, pieces: list[Piece]) -> str:
        """Draw one token; returns why it was the last, "" where it was not."""
        constraint, logprobs = sequence.request.constraint, sequence.request.logprobs
        if logprobs is not None:
            logprobs.look(self._context.logits(output))
        token = self._sample(sequence, output)
        sequence.take(token)
        if self._model.is_end(token):
            pieces.append(_piece_of(sequence, sequence.text.flush(), last=True))
            return "stop"
        if logprobs is not None:
            logprobs.note(token)
        complete = constraint is not None and constraint.take(token)
        text = sequence.text.push(self._model.piece(token))
        reason = "stop" if complete or sequence.text.stopped else "length" if sequence.is_full() else ""
        if reason:
            text += sequence.text.flush()
        pieces.append(_piece_of(sequence, text, last=bool(reason)))
        parser = sequence.request.parser
        return "stop" if not reason and parser is not None and parser.over else reason

    def _sample(self, sequence: Sequence, output: int) -> int:
        """Draw a token that the sequence's form allows. Raises GrammarFailed.

        As llama.cpp's server does, what is drawn freely is taken where it is allowed, as nearly always: only where it
        is not, all that is ruled out is worked out. What remembers its draws must not see one that is given back.
        """
        constraint, sampler = sequence.request.constraint, sequence.sampler
        if constraint is not None:
            if not sampler.remembers and constraint.allows(token := sampler.sample(self._context, output)):
                return token
            constraint.apply(self._context.logits(output))
        return sampler.sample(self._context, output)

    def _settle(self, sequence: Sequence, guessed: int, accepted: int) -> None:
        """Keep what was computed of a draft as far as it was right."""
        held = sequence.computed + guessed
        sequence.computed = max(sequence.computed, len(sequence.tokens) - 1)
        sequence.drafted += guessed
        sequence.accepted += accepted
        sequence.trust.learn(guessed, accepted)
        if sequence.computed < held and not self._context.cut(sequence.slot, sequence.computed):
            self._restart(sequence)
            sequence.speculates = False  # a memory that lets nothing be taken back is no place to try things


def _piece_of(sequence: Sequence, text: str, *, last: bool) -> Piece:
    """Describe one token's text; what a stop string cut has no log probabilities either."""
    request = sequence.request
    rest = last and not sequence.text.stopped
    logprobs = [] if request.logprobs is None else request.logprobs.release(text, rest=rest)
    if request.parser is None:
        return Piece(request.id, text, 1, logprobs)
    thinking, content, calls = request.parser.push(text, last=last)
    return Piece(request.id, content, 1, logprobs, thinking, list(calls))


def _end_of(sequence: Sequence, reason: str, now: int, unsaid: int = 0) -> Finished:
    """Describe an end; the last `unsaid` tokens stay out of the context that is handed on."""
    request = sequence.request
    history = sequence.history if request.want_context else []
    return Finished(
        id=request.id,
        reason=reason,
        prompt_tokens=sequence.prompt_tokens,
        cached_tokens=sequence.cached,
        output_tokens=sequence.output_tokens,
        prompt_ns=sequence.first_ns - sequence.started_ns,
        output_ns=now - sequence.first_ns,
        context=history[: len(history) - unsaid],
        shifted=len(sequence.lost),
        drafted=sequence.drafted,
        accepted=sequence.accepted,
        stop=sequence.text.stop,
        warnings=list(request.parser.warnings) if request.parser is not None else [],
    )
