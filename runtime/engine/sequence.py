"""One request's state inside the runner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from corral.runtime.engine.chain import Sampler
from corral.runtime.engine.drafting import LONGEST_GUESS, PromptLookup, Trust
from corral.runtime.engine.grammar import Constraint
from corral.runtime.engine.lazy_calls import LazyCalls
from corral.runtime.engine.logprobs import LogprobStream
from corral.runtime.engine.text import TextStream
from corral.runtime.engine.vision import Media, Span
from corral.runtime.prompt.parsers.calls import AnswerParser

MOST_REPEATS: Final = 30
"""A longer run of one token ends the generation (spec a.9)."""

_ENDLESS_FACTOR: Final = 10


def without_images(tokens: Iterable[int]) -> list[int]:
    """Return the tokens that are the model's own."""
    return [token for token in tokens if token >= 0]


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt in tokens and what is wanted of it, as the loop gets it. `num_predict` may be negative: no limit.

    `cut` tokens were taken from the prompt's middle; `shift` lets the answer go on when the window is full, with the
    first `keep` tokens kept. `most_guessed` is how many tokens are guessed ahead at most, negative for as many
    as pay; they come from a draft model or from `lookup`. `parser` splits the answer. `media` are the parts of images
    among the tokens, in order; with any of them the window is not shifted. `warnings` say what is not as asked for.
    `repeatable` has the answer be the same each time: nothing is left to chance. Whoever lets go of a request closes
    its sampler.
    """

    id: int
    tokens: list[int]
    sampler: Sampler
    num_ctx: int
    num_predict: int
    stop: tuple[str, ...]
    want_context: bool
    dropped: int
    cut: int = 0
    shift: bool = False
    keep: int = 0
    constraint: Constraint | LazyCalls | None = None
    logprobs: LogprobStream | None = None
    most_guessed: int = 0
    lookup: PromptLookup | None = None
    parser: AnswerParser | None = None
    media: tuple[Span, ...] = ()
    warnings: tuple[str, ...] = ()
    repeatable: bool = False

    @property
    def most_output(self) -> int:
        """Return how many tokens may be generated at most (spec a.9)."""
        endless = _ENDLESS_FACTOR * self.num_ctx
        return self.num_predict if 0 <= self.num_predict <= endless else endless

    @property
    def may_shift(self) -> bool:
        """Say whether the answer can come to fill the window and go on."""
        return self.shift and len(self.tokens) + self.most_output > self.num_ctx

    @property
    def cells(self) -> int:
        """Return the most KV cells it can come to use."""
        beyond = sum(span.media.cells - len(span.media.stand_ins) for span in self.media)
        return min(len(self.tokens) + self.most_output, self.num_ctx) + beyond

    def whole(self, length: int) -> int:
        """Return how many of the first `length` tokens can be shared or kept: part of an image is of no use."""
        return next((span.start for span in self.media if span.inside(length)), length)


class Sequence:
    """A running request; belongs to the loop's thread.

    `tokens` are the prompt and what was generated, `computed` how many of them are in the cache. While `leader` is
    set, that sequence is computing the beginning both have (`shared` tokens), and this one waits for it. At the
    `stops`, counts of computed tokens, it rests between two steps, so that its memory can be copied. `lost` are
    tokens that were dropped to go on; what the cache holds of a `shifted` sequence was computed with some of them in
    view, so it is nobody else's beginning. `draft` are tokens guessed to come next, which this step computes too.
    """

    __slots__ = (
        "accepted",
        "cached",
        "computed",
        "draft",
        "drafted",
        "first_ns",
        "leader",
        "lost",
        "paused",
        "prompt_tokens",
        "repeats",
        "request",
        "sampler",
        "shared",
        "shifted",
        "slot",
        "speculates",
        "started_ns",
        "stops",
        "text",
        "tokens",
        "trust",
    )

    def __init__(self, request: Request, slot: int, now_ns: int) -> None:
        self.request = request
        self.slot = slot
        self.sampler = request.sampler
        self.tokens = list(request.tokens)  # what the request may come to need is told by its prompt alone
        self.prompt_tokens = len(request.tokens)
        self.computed = 0
        self.cached = 0
        self.leader: Sequence | None = None
        self.shared = 0
        self.stops: list[int] = []
        self.shifted = False
        self.lost: list[int] = []
        self.paused = False
        self.repeats = 1
        self.text = TextStream(request.stop)
        self.started_ns = now_ns
        self.first_ns = 0
        self.draft: list[int] = []
        self.drafted = self.accepted = 0
        self.trust = Trust()
        self.speculates = bool(request.most_guessed)

    @property
    def wanted(self) -> int:
        """Return how many tokens it could have computed now."""
        if self.paused or self.leader is not None:
            return 0
        end = self.stops[0] if self.stops else len(self.tokens)
        if (span := self._next_media()) is not None:
            end = span.end if span.start == self.computed else min(end, span.start)
        return end - self.computed

    @property
    def media(self) -> Media | None:
        """Return the part of an image that is to be computed next, as a whole, if it is one."""
        span = self._next_media()
        return span.media if span is not None and span.start == self.computed and self.wanted else None

    def _next_media(self) -> Span | None:
        if not self.request.media:
            return None
        return next((span for span in self.request.media if span.start >= self.computed), None)

    @property
    def output_tokens(self) -> int:
        """Return how many tokens were generated."""
        return len(self.lost) + len(self.tokens) - self.prompt_tokens

    @property
    def guessable(self) -> int:
        """Return how many tokens may be guessed ahead now: with one more after them, the answer keeps its bounds."""
        most = self.request.most_guessed if self.request.most_guessed >= 0 else LONGEST_GUESS
        room = min(self.request.num_ctx - len(self.tokens), self.request.most_output - self.output_tokens) - 1
        return max(0, min(most, room))

    @property
    def overflows(self) -> bool:
        """Say whether the window has to be shifted before more is computed."""
        return len(self.tokens) >= self.request.num_ctx and bool(self.first_ns)

    @property
    def history(self) -> list[int]:
        """Return the prompt and the answer with all that was dropped, but without images."""
        keep = self.request.keep
        return without_images(self.tokens[:keep] + self.lost + self.tokens[keep:])

    def stop_at(self, count: int) -> None:
        """Have the computation rest once `count` tokens are computed."""
        self.stops = sorted({*self.stops, count})

    def take(self, token: int) -> None:
        """Append a generated token."""
        self.repeats = self.repeats + 1 if self.output_tokens and token == self.tokens[-1] else 1
        self.tokens.append(token)
        if self.request.lookup is not None:
            self.request.lookup.push(token)

    def lose(self, start: int, count: int) -> None:
        """Drop tokens that are computed."""
        self.lost += self.tokens[start : start + count]
        del self.tokens[start : start + count]
        self.computed -= count
        self.shifted = True

    def restart(self, length: int = 0) -> None:
        """Have everything behind the first `length` tokens computed again."""
        self.computed = length
        self.shifted = False

    def is_full(self) -> bool:
        """Say whether the answer has reached one of its bounds."""
        return (
            self.output_tokens >= self.request.most_output
            or (len(self.tokens) >= self.request.num_ctx and not self.request.shift)
            or self.repeats > MOST_REPEATS
        )
