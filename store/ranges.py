"""Which bytes of a file are there: half-open ranges, kept sorted and apart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """The bytes from `start` up to, but not with, `end`."""

    start: int
    end: int


class Ranges:
    """A set of byte positions. Owned by one thread."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for span in spans:
            self.add(span)

    @property
    def total(self) -> int:
        """How many bytes there are."""
        return sum(self._ends) - sum(self._starts)

    def spans(self) -> list[Span]:
        """All of them in order; no two touch."""
        return [Span(*pair) for pair in zip(self._starts, self._ends, strict=True)]

    def add(self, span: Span) -> None:
        """Put bytes in, whether or not they are there."""
        if span.start >= span.end:
            return
        # Everything that overlaps or touches becomes one.
        first = bisect_left(self._ends, span.start)
        last = bisect_right(self._starts, span.end)
        start = min([span.start, *self._starts[first:last][:1]])
        end = max([span.end, *self._ends[first:last][-1:]])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def missing(self, size: int) -> list[Span]:
        """What a file of `size` bytes still lacks, in order."""
        edges = [0, *(edge for span in self.spans() for edge in span), size]
        return [Span(start, min(end, size)) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]
