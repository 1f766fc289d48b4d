"""Which tokens go into the next batch: pure policy over integers.

There is no prefill phase and no decode phase. Each sequence has tokens that are computed and tokens that are wanted;
every step lets it catch up. What wants one token (a stream that generates) always gets it, prompts share the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

STALL_NS: Final = 100_000_000
"""How long prompts may make a step while streams generate."""

JOIN_NS: Final = 400_000_000
"""How long a step of nothing but prompts may be: what comes next waits for no longer than this."""

_FIRST_CHUNK: Final = 64
_SMALLEST_CHUNK: Final = 16


class PromptBudget:
    """How many prompt tokens fit a step, learnt from how long the last steps took; belongs to the loop's thread."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ns_per_token = 0

    def tokens(self, *, generating: bool) -> int:
        """Return the most prompt tokens for the next step."""
        if not self._ns_per_token:
            return min(_FIRST_CHUNK, self._capacity)
        limit = (STALL_NS if generating else JOIN_NS) // self._ns_per_token
        return min(max(limit, _SMALLEST_CHUNK), self._capacity)

    def observe(self, prompt_tokens: int, elapsed_ns: int) -> None:
        """Learn from a step that computed `prompt_tokens` of prompts."""
        if prompt_tokens < _SMALLEST_CHUNK // 2:
            return
        sample = max(1, elapsed_ns // prompt_tokens)
        self._ns_per_token = (3 * self._ns_per_token + sample) // 4 if self._ns_per_token else sample


def plan(wanted: Sequence[int], capacity: int, budget: int) -> list[int]:
    """Say how many of its wanted tokens each sequence gets, at most `capacity` in all.

    A sequence that wants one token gets it first. The others share `budget` evenly, and what a short one leaves
    goes to the longer ones, the oldest first. With `budget` above 0 and room left, some prompt always advances. No
    prompt is left with a single token to come.
    """
    counts = [0] * len(wanted)
    prompts = []
    for index, want in enumerate(wanted):
        if want == 1 and capacity > 0:
            counts[index] = 1
            capacity -= 1
        elif want > 1:
            prompts.append(index)
    left = min(capacity, budget)
    while prompts and left > 0:
        share = max(1, left // len(prompts))
        hungry = []
        for index in prompts:
            grant = min(wanted[index] - counts[index], share, left)
            counts[index] += grant
            left -= grant
            if counts[index] < wanted[index]:
                hungry.append(index)
        prompts = hungry
    for index, want in enumerate(wanted):
        if counts[index] > 1 and want - counts[index] == 1:
            counts[index] -= 1  # a lone last token would be computed by other kernels than the rest of its prompt
    return counts
