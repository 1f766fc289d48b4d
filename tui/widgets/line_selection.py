"""Whole lines of a conversation, selected by keys: one end stays where it began, the other one moves."""

from __future__ import annotations

from collections.abc import Sequence

from corral.tui.widgets.markdown import CODE_EDGES
from corral.tui.widgets.picture import HALF_BLOCK
from corral.tui.widgets.said import Said

__all__ = ["LineSelection"]

Place = tuple[int, int]
"""A message's number among those that are shown, and a line's in it."""


class LineSelection:
    """Lines from one place to another, over several messages. Only as long as the same messages are shown."""

    def __init__(self, said: Sequence[Said], at: Place) -> None:
        self._said = said
        self._begin = at
        self._end = at
        self._draw()

    @classmethod
    def begun(cls, said: Sequence[Said], *, chosen: Said | None = None) -> LineSelection | None:
        """Begin with the first line of the chosen message, else with the last line of all; None where nothing is."""
        if not said:
            return None
        number = said.index(chosen) if chosen in said else len(said) - 1
        return cls(said, (number, 0 if chosen in said else len(said[number].lines) - 1))

    @property
    def end(self) -> tuple[Said, int]:
        """The message and the line that move."""
        return self._said[self._end[0]], self._end[1]

    @property
    def count(self) -> int:
        """How many lines are selected."""
        return sum(len(self._lines_of(number)) for number in range(len(self._said)))

    def move(self, by: int) -> None:
        """Move the end by so many lines, as far as there are any."""
        number, line = self._end
        line += by
        while line < 0 and number > 0:
            number -= 1
            line += len(self._said[number].lines)
        while line >= len(self._said[number].lines) and number < len(self._said) - 1:
            line -= len(self._said[number].lines)
            number += 1
        self._end = number, min(max(line, 0), len(self._said[number].lines) - 1)
        self._draw()

    @property
    def text(self) -> str:
        """What is selected, without what is only drawn: the edge of code, images."""
        lines = [
            _without_edge(said.lines[line]).rstrip()
            for number, said in enumerate(self._said)
            for line in self._lines_of(number)
            if HALF_BLOCK not in said.lines[line]
        ]
        return "\n".join(lines)

    def drop(self) -> None:
        """Select nothing any more."""
        for said in self._said:
            said.select(None)

    def _lines_of(self, number: int) -> range:
        first, last = sorted((self._begin, self._end))
        if not first[0] <= number <= last[0]:
            return range(0)
        begin = first[1] if number == first[0] else 0
        end = last[1] + 1 if number == last[0] else len(self._said[number].lines)
        return range(begin, end)

    def _draw(self) -> None:
        for number, said in enumerate(self._said):
            said.select(self._lines_of(number) or None)


def _without_edge(line: str) -> str:
    return next((line[len(edge) :] for edge in CODE_EDGES if line.startswith(edge)), line)
