from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.prefix import PrefixCache, common_length

TOKENS = st.lists(st.integers(0, 2), max_size=40)


def slow_common_length(left: list[int], right: list[int]) -> int:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


@given(TOKENS, TOKENS)
def test_common_length_is_what_counting_says(left: list[int], right: list[int]) -> None:
    assert common_length(left, right) == slow_common_length(left, right)
    assert common_length(left, left + right) == len(left)


@given(st.lists(TOKENS, max_size=8), TOKENS)
def test_best_is_the_longest(entries: list[list[int]], prompt: list[int]) -> None:
    cache = PrefixCache()
    for slot, tokens in enumerate(entries):
        cache.keep(slot, tokens)
    longest = max((slow_common_length(tokens, prompt) for tokens in entries), default=0)
    best = cache.best(prompt)
    assert (best[1] if best else 0) == longest
    assert best is None or slow_common_length(entries[best[0]], prompt) == longest


def test_the_least_recently_used_goes_first() -> None:
    cache = PrefixCache()
    cache.keep(1, [1])
    cache.keep(2, [2])
    cache.touch(1)
    assert cache.oldest() == 2
    assert cache.oldest(besides=2) == 1
    cache.drop(2)
    cache.drop(1)
    assert cache.oldest() is None
    assert cache.tokens() == 0
