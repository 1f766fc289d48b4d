"""Guessing tokens ahead, so that one step can check several: pure policy over integers, no llama.cpp.

A guess only decides what is computed beforehand. What is said is drawn from the logits of each position as ever, so a
wrong guess costs time and never a word. `PromptLookup` guesses from what was said before, `Trust` knows how often a
draft model was right, `StepCosts` what steps of a size take here, and `choose` takes of all guesses those that make
more tokens per time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

LONGEST_GUESS: Final = 32
"""Tokens guessed ahead where nobody says how many."""

_RUN: Final = 3
"""Tokens that must come up again to guess what follows; two come up again in any text."""

_TOKEN_BITS: Final = 32
_RUN_MASK: Final = (1 << _RUN * _TOKEN_BITS) - 1

_CAUGHT_UP: Final = 128
"""Tokens of the prompt that are looked into with each token of the answer."""

_LONG_STREAK: Final = 16
"""Tokens in common from which on a text is taken to be copied, and is trusted by what such copies came to."""

_FIRST_CHANCES: Final = (0.5, 0.93)
_FIRST_CHANCE: Final = 0.7
_HIGHEST_CHANCE: Final = 0.995
_FIRST_WEIGHT: Final = 2.0
_FADE: Final = 0.95
_SHORTEST_REST: Final = 16
_LONGEST_REST: Final = 512

_LONGEST_STEP_NS: Final = 100e6
_STRETCH: Final = 2.5
"""A step with guesses may take so many times as long as one without, or so long."""

_MARGIN: Final = 1.1
"""How much faster a step must come out to be worth what cannot be known of it."""

_MARGIN_A_STREAM: Final = 0.02
"""What each further stream adds to that: where many fill the machine, most of a gain is a cost measured too low.

With 16 streams guesses that seemed to pay a tenth made them end later than without (SmolLM2, 2 cores: 4 % in the mean).
"""

_STEPS_KEPT: Final = 5
_STEPS_REMEMBERED: Final = 64
_FIRST_SLOPE: Final = 0.25
"""What a token more is taken to cost, of what one costs, before it was tried."""


class PromptLookup:
    """Where each run of a few tokens came up last in one sequence's text; what followed there may follow again.

    Whether it did is seen with every token that comes, guessed or not, so how much a guess is worth is known before one
    is made. Takes a token in constant time, a few microseconds; the prompt is looked into with the answer's first
    tokens, some for each, so that nothing waits for it. Keeps its own copy of the text, so that what a full window
    drops can still be found.
    """

    __slots__ = ("_at", "_hits", "_num_prompt", "_run", "_seen", "_streak", "_text", "_tokens", "_tries")

    def __init__(self, prompt: Sequence[int]) -> None:
        self._text = list(prompt)
        self._num_prompt = len(self._text)
        self._tokens: list[int] = []
        self._run = 0
        self._seen: dict[int, int] = {}
        self._at = self._streak = 0
        self._reset()

    def _reset(self) -> None:
        self._tries = [_FIRST_WEIGHT] * len(_FIRST_CHANCES)
        self._hits = [chance * _FIRST_WEIGHT for chance in _FIRST_CHANCES]

    def push(self, token: int) -> None:
        """Take the text's next token."""
        self._text.append(token)
        begin = len(self._tokens)
        for known in self._text[begin : begin + _CAUGHT_UP]:
            self._look_into(known)
            if len(self._tokens) == self._num_prompt:
                self._reset()  # what a prompt repeats says little of its answer

    def _look_into(self, token: int) -> None:
        if self._at:
            kind = self._kind
            hit = self._tokens[self._at] == token
            self._hits[kind] = self._hits[kind] * _FADE + hit
            self._tries[kind] = self._tries[kind] * _FADE + 1
            self._at = self._at + 1 if hit else 0
            self._streak += 1
        self._tokens.append(token)
        end = len(self._tokens)
        self._run = run = ((self._run << _TOKEN_BITS) | token) & _RUN_MASK
        if end >= _RUN:
            if not self._at:
                self._at, self._streak = self._seen.get(run, 0), _RUN
            self._seen[run] = end

    @property
    def _kind(self) -> int:
        return self._streak >= _LONG_STREAK

    @property
    def chance(self) -> float:
        """Return how likely the next token is as guessed: much likelier where the last ones were."""
        return min(self._hits[self._kind] / self._tries[self._kind], _HIGHEST_CHANCE)

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens that followed the last time the text's end came up; none where it never did.

        Where the two places overlap the text repeats itself, and so does the guess.
        """
        start = self._at
        if not start or most < 1 or len(self._tokens) < len(self._text):
            return []
        period = len(self._tokens) - start
        if most <= period:
            return self._tokens[start : start + most]
        return [self._tokens[start + index % period] for index in range(most)]


class Trust:
    """How often a draft model was right about a sequence of late; it rests, ever longer, where it was not."""

    __slots__ = ("_pause", "_right", "_wait", "_wrong")

    def __init__(self) -> None:
        self._right = self._wrong = 0.0
        self._wait = self._pause = 0

    @property
    def chance(self) -> float:
        """Return how likely the next guessed token is right, given that those before it were."""
        right, weight = self._right + _FIRST_CHANCE * _FIRST_WEIGHT, self._right + self._wrong + _FIRST_WEIGHT
        return min(right / weight, _HIGHEST_CHANCE)

    def ready(self) -> bool:
        """Say whether to guess in this step; ask once a step."""
        if self._wait:
            self._wait -= 1
            return False
        return True

    def learn(self, guessed: int, accepted: int) -> None:
        """Note how a guess of `guessed` tokens went."""
        if not accepted:
            self.rest()
            return
        fade = _FADE ** (accepted + (accepted < guessed))
        self._right = self._right * fade + accepted
        self._wrong = self._wrong * fade + (accepted < guessed)
        self._pause //= 2

    def rest(self) -> None:
        """Guess no more for a while, then start anew: a text that repeats nothing may come to repeat something."""
        self._pause = min(max(2 * self._pause, _SHORTEST_REST), _LONGEST_REST)
        self._wait = self._pause
        self._right = self._wrong = 0.0


def _middle(took: Collection[float]) -> float:
    """Return the middle one, of two the smaller."""
    return float(sorted(took)[(len(took) - 1) // 2])


@dataclass(slots=True)
class _Steps:
    """What the last steps of one size took in nanoseconds, and which step was the last of them."""

    took: deque[int]
    cost: float = 0.0
    last: int = 0


class StepCosts:
    """What steps of so many tokens take, learnt from those that were made; sizes not seen lie between those that were.

    Beyond the largest a token costs no more than one of a prompt, which is computed in the largest steps of all.
    A busy machine stretches single steps beyond measure, so the middle one of the last few counts, and what was not
    made for long is forgotten, the sooner the fewer times it was made.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._known: dict[int, _Steps] = {}
        self._made = 0
        self._prompts: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._prompt_ns = 0.0

    def observe_prompt(self, size: int, elapsed_ns: int) -> None:
        """Learn from a step of `size` tokens, nearly all of them prompts'.

        The first one after a load also reads the weights from disk.
        """
        self._prompts.append(elapsed_ns / size)
        self._prompt_ns = _middle(self._prompts)

    def observe(self, size: int, elapsed_ns: int) -> None:
        """Learn from a step of `size` tokens, none of them a prompt's."""
        self._made += 1
        steps = self._known.get(size)
        if steps is None:
            insort(self._sizes, size)
            steps = self._known[size] = _Steps(deque(maxlen=_STEPS_KEPT))
        steps.took.append(elapsed_ns)
        steps.cost = _middle(steps.took)
        steps.last = self._made
        if not self._made % _STEPS_REMEMBERED:
            self._forget()

    @property
    def largest(self) -> int:
        """Return the largest size known."""
        return self._sizes[-1] if self._sizes else 0

    def of(self, size: int) -> float:
        """Return what a step of `size` tokens takes in nanoseconds; 0 where no step is known."""
        if size in self._known:
            return self._known[size].cost
        if not self._sizes:
            return 0.0
        place = bisect_left(self._sizes, size)
        if place == 0:
            return self._known[self._sizes[0]].cost
        low = self._sizes[place - 1]
        at_low = self._known[low].cost
        if place < len(self._sizes):
            high = self._sizes[place]
            slope = (self._known[high].cost - at_low) / (high - low)
        else:
            slope = self._prompt_ns or at_low * _FIRST_SLOPE / low
        return at_low + max(0.0, slope) * (size - low)

    def _forget(self) -> None:
        made = self._made
        self._known = {
            size: steps
            for size, steps in self._known.items()
            if made - steps.last < len(steps.took) * _STEPS_REMEMBERED
        }
        self._sizes = sorted(self._known)


def choose(
    plain: int, guesses: Sequence[tuple[int, float]], costs: StepCosts, most: int, depth_ns: float = 0.0
) -> list[int]:
    """Say how many tokens of each guess to check in a step that makes `plain` tokens anyway, `most` in all.

    `guesses` are how many tokens each has and how likely each of them is right after those before it; `depth_ns` is
    what guessing one token more for all of them costs. A token that comes later is needed less often; the likeliest
    are taken for as long as that makes more tokens per time, and nobody waits much longer for a token of theirs.
    """
    alone = costs.of(plain)
    lengths = [0] * len(guesses)
    if not alone:
        return lengths
    likeliest = sorted(
        (
            (chance**place, index, place)
            for index, (length, chance) in enumerate(guesses)
            for place in range(1, length + 1)
        ),
        key=lambda one: -one[0],
    )
    margin = _MARGIN + _MARGIN_A_STREAM * (plain - 1)
    best, taken, depth = margin * plain / alone, 0, 0
    expected = float(plain)
    longest = max(_LONGEST_STEP_NS, _STRETCH * alone)
    for count, (chance, _index, place) in enumerate(likeliest[: max(0, most)], 1):
        expected += chance
        depth = max(depth, place)
        takes = costs.of(plain + count) + depth * depth_ns
        if takes > longest:
            break
        rate = expected / takes
        if rate > best:
            best, taken = rate, count
    for _chance, index, _place in likeliest[:taken]:
        lengths[index] += 1
    return lengths
