"""Guessing tokens ahead, so that one step can check several: pure policy over integers, no llama.cpp.

A guess only decides what is computed beforehand. What is said is drawn from the logits of each position as ever, so a
wrong guess costs time and never a word. `PromptLookup` guesses from what was said before, `Trust` knows how often a
sequence's guesses were right, `StepCosts` what steps of a size take here, and `choose` takes of all guesses those that
make more tokens per time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LONGEST_GUESS: Final = 16
"""Tokens guessed ahead where nobody says how many."""

_SIZES: Final = (6, 3)
_TOKEN_BITS: Final = 32

_FIRST_CHANCE: Final = 0.7
_HIGHEST_CHANCE: Final = 0.97
_FIRST_WEIGHT: Final = 2.0
_FADE: Final = 0.9
_SHORTEST_REST: Final = 16
_LONGEST_REST: Final = 512

_MARGIN: Final = 1.05
_STEPS_KEPT: Final = 5
_STEPS_REMEMBERED: Final = 64
_FIRST_SLOPE: Final = 0.25
"""What a token more is taken to cost, of what one costs, before it was tried."""


class PromptLookup:
    """Where each run of a few tokens came up last in one sequence's text; what followed there may follow again.

    Takes a token in constant time, 1 microsecond. Keeps its own copy of the text, so that what a full window drops can
    still be found.
    """

    __slots__ = ("_found", "_runs", "_seen", "_tokens")

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._runs = [0] * len(_SIZES)
        self._seen: list[dict[int, int]] = [{} for _ in _SIZES]
        self._found: list[int] = [0] * len(_SIZES)
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """Take the text's next token."""
        self._tokens.append(token)
        end = len(self._tokens)
        for index, size in enumerate(_SIZES):
            run = ((self._runs[index] << _TOKEN_BITS) | token) & ((1 << size * _TOKEN_BITS) - 1)
            self._runs[index] = run
            if end >= size:
                self._found[index] = self._seen[index].get(run, 0)
                self._seen[index][run] = end

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens that followed the last time the text's end came up; none where it never did.

        The longer end counts. Where the two places overlap the text repeats itself, and so does the guess.
        """
        start = next((found for found in self._found if found), 0)
        if not start or most < 1:
            return []
        period = len(self._tokens) - start
        if most <= period:
            return self._tokens[start : start + most]
        return [self._tokens[start + index % period] for index in range(most)]


class Trust:
    """How often the guesses for one sequence were right of late; it rests, ever longer, where they are not."""

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
        fade = _FADE**accepted
        self._right = self._right * fade + accepted
        self._wrong = self._wrong * fade + (accepted < guessed)
        self._pause //= 2

    def rest(self) -> None:
        """Guess no more for a while, then start anew: a text that repeats nothing may come to repeat something."""
        self._pause = min(max(2 * self._pause, _SHORTEST_REST), _LONGEST_REST)
        self._wait = self._pause
        self._right = self._wrong = 0.0


@dataclass(slots=True)
class _Steps:
    """What the last steps of one size took in nanoseconds, and which step was the last of them."""

    took: deque[int]
    cost: float = 0.0
    last: int = 0


class StepCosts:
    """What steps of so many tokens take, learnt from those that were made; sizes not seen lie between those that were.

    A busy machine stretches single steps beyond measure, so the middle one of the last few counts, and what was not
    made for long is forgotten, the sooner the fewer times it was made.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._known: dict[int, _Steps] = {}
        self._made = 0

    def observe(self, size: int, elapsed_ns: int) -> None:
        """Learn from a step of `size` tokens, none of them a prompt's."""
        self._made += 1
        steps = self._known.get(size)
        if steps is None:
            insort(self._sizes, size)
            steps = self._known[size] = _Steps(deque(maxlen=_STEPS_KEPT))
        steps.took.append(elapsed_ns)
        steps.cost = float(sorted(steps.took)[(len(steps.took) - 1) // 2])
        steps.last = self._made
        if not self._made % _STEPS_REMEMBERED:
            self._forget()

    def of(self, size: int) -> float:
        """Return what a step of `size` tokens takes in nanoseconds; 0 where no step is known."""
        if size in self._known:
            return self._known[size].cost
        if not self._sizes:
            return 0.0
        place = bisect_left(self._sizes, size)
        if place == 0:
            return self._known[self._sizes[0]].cost
        if len(self._sizes) == 1:
            only = self._sizes[0]
            return self._known[only].cost * (1 + _FIRST_SLOPE * (size - only) / only)
        place = min(place, len(self._sizes) - 1)
        low, high = self._sizes[place - 1], self._sizes[place]
        at_low, at_high = self._known[low].cost, self._known[high].cost
        return at_low + max(0.0, at_high - at_low) * (size - low) / (high - low)

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
    are taken for as long as that makes more tokens per time.
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
    best, taken, depth = _MARGIN * plain / alone, 0, 0
    expected = float(plain)
    for count, (chance, _index, place) in enumerate(likeliest[: max(0, most)], 1):
        expected += chance
        depth = max(depth, place)
        rate = expected / (costs.of(plain + count) + depth * depth_ns)
        if rate > best:
            best, taken = rate, count
    for _chance, index, _place in likeliest[:taken]:
        lengths[index] += 1
    return lengths
