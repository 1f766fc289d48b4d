"""Which tokens go into the next batch: pure policy over integers.

There is no prefill phase and no decode phase. Each sequence has tokens that are computed and tokens that are wanted;
every step lets it catch up. What wants one token (a stream that generates) always gets it, prompts share the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

STRETCH: Final = 2.5
"""How many times as long as one without prompts a step may be made by them. Three times is what is promised; the rest
is for what no estimate foresees.
"""

JOIN_NS: Final = 2_500_000_000
"""How long a step of nothing but prompts may be: what comes next waits for no longer than this."""

YOUNG_NS: Final = 250_000_000
"""For how long after its first token a stream may be kept waiting: who asked at the same time then begins with it, and
all of them share their steps from there on.
"""

YOUNG_STEP_NS: Final = 500_000_000
"""How long a step of prompts beside such streams may be."""

TILE: Final = 64
"""Large steps of prompts are multiples of this: others cost llama.cpp up to a fifth more a token."""

_FIRST_CHUNK: Final = 128
_SMALLEST_CHUNK: Final = 4
"""With fewer a prompt of a small model that is thousands of tokens deep takes twice as long for little smoothness."""

_OLDEST_SHARE: Final = 4
_KEPT: Final = 0.75


class PromptBudget:
    """How many prompt tokens fit a step, learnt from how long the last steps took; belongs to the loop's thread.

    A token beside streams that generate costs otherwise than one among hundreds: the two are learnt apart.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._plain_ns: dict[int, float] = {}  # of a step without prompts, by the number of streams
        self._beside_ns = 0.0
        self._alone_ns = 0.0

    def tokens(self, generating: int, *, young: bool = False) -> int:
        """Return the most prompt tokens for the next step beside `generating` streams, all of them `young` or not."""
        if generating and not young:
            cost = self._beside_ns or self._alone_ns
            plain = self._plain(generating)
            wanted = (STRETCH - 1) * plain / cost if cost and plain else _SMALLEST_CHUNK
        else:
            longest = YOUNG_STEP_NS if generating else JOIN_NS
            wanted = longest // self._alone_ns if self._alone_ns else _FIRST_CHUNK
            wanted -= wanted % TILE if wanted > TILE else 0
        return min(max(int(wanted), _SMALLEST_CHUNK), self._capacity)

    def observe(self, prompt_tokens: int, generating: int, elapsed_ns: int) -> None:
        """Learn from a step that computed `prompt_tokens` of prompts and a token of each of `generating` streams."""
        if not prompt_tokens:
            self._plain_ns[generating] = _follow(self._plain_ns.get(generating, 0.0), elapsed_ns)
        elif not generating:
            if prompt_tokens >= TILE // 2:
                self._alone_ns = _follow(self._alone_ns, elapsed_ns / prompt_tokens)
        elif plain := self._plain(generating):
            self._beside_ns = _follow(self._beside_ns, max(1.0, (elapsed_ns - plain) / prompt_tokens))

    def _plain(self, generating: int) -> float:
        """Return how long a step of that many streams takes; of fewer where it was never seen, 0 where none was."""
        fewer = [count for count in self._plain_ns if 0 < count <= generating]
        return self._plain_ns[max(fewer)] if fewer else 0.0


def _follow(known: float, sample: float) -> float:
    return _KEPT * known + (1 - _KEPT) * sample if known else sample


def resting_place(computed: int, length: int, followers: Sequence[tuple[int, int]], budget: int) -> int:
    """Say where a prompt of `length` tokens rests for those that wait for its beginning, or 0 where it does not.

    `followers` are (shared tokens, length) of theirs. Where all that is left then fits one step, they begin to generate
    together and share their steps from the first on; else the first to generate would have the others come in by a few
    tokens a step.
    """
    place = max((shared for shared, _ in followers), default=0)
    left = length - place + sum(theirs - shared for shared, theirs in followers)
    return place if computed + 1 < place < length - 1 and left <= budget else 0


def plan(wanted: Sequence[int], capacity: int, budget: int) -> list[int]:
    """Say how many of its wanted tokens each sequence gets, at most `capacity` in all.

    A sequence that wants one token gets it first. Of `budget` the oldest prompt gets a part, so that it comes to its
    end whatever else comes; the rest goes to the shortest, for the sooner one generates, the sooner it shares its steps
    with others. No prompt is left with a single token to come: it gets that one too where it got no other.
    """
    counts = [0] * len(wanted)
    prompts = []
    room = capacity
    for index, want in enumerate(wanted):
        if want == 1 and capacity > 0:
            counts[index] = 1
            capacity -= 1
        elif want > 1:
            prompts.append(index)
    left = min(capacity, budget)
    if prompts and left > 0:
        counts[prompts[0]] = min(wanted[prompts[0]], -(-left // _OLDEST_SHARE))
        left -= counts[prompts[0]]
    for index in sorted(prompts, key=lambda index: wanted[index]):
        grant = min(wanted[index] - counts[index], left)
        counts[index] += grant
        left -= grant
    for index, want in enumerate(wanted):
        if counts[index] and want - counts[index] == 1:
            # A lone last token would be computed by other kernels than the rest of its prompt.
            counts[index] += 1 if counts[index] == 1 and sum(counts) < room else -1
    return counts
