from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.store.ranges import Ranges, Span

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: Span(*pair)), max_size=20)


@given(SPANS)
def test_ranges_are_the_set_of_their_positions(spans: list[Span]) -> None:
    there = {at for start, end in spans for at in range(start, end)}
    ranges = Ranges(spans)
    assert ranges.total == len(there)
    assert {at for start, end in ranges.spans() for at in range(start, end)} == there
    edges = [edge for span in ranges.spans() for edge in span]
    assert edges == sorted(set(edges))  # in order, and no two touch


@given(SPANS, st.integers(0, 80))
def test_what_is_missing_is_the_rest_of_the_file(spans: list[Span], size: int) -> None:
    ranges = Ranges(span for span in spans if span.end <= size)
    missing = ranges.missing(size)
    lacking = {at for start, end in missing for at in range(start, end)}
    there = {at for start, end in ranges.spans() for at in range(start, end)}
    assert not lacking & there
    assert lacking | there == set(range(size))
