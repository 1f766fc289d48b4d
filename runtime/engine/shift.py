"""Going on when a window is full: the oldest tokens behind those to keep are dropped, and the rest moves up."""

from __future__ import annotations

from typing import Final

from corral.runtime.engine.context import Context
from corral.runtime.engine.sequence import Sequence

SMALLEST_WINDOW: Final = 4
"""Tokens; in a smaller one nothing would be left to go on from."""

_ROOM: Final = 16


def tokens_to_keep(num_keep: int, num_prompt: int, num_ctx: int, *, begins: bool) -> int:
    """Return how many tokens at the beginning are never dropped (spec a.9).

    `num_keep` below 0 keeps the whole prompt; `begins` says that a BOS comes on top. A sixteenth of the window can
    always be dropped, so that not every token costs a shift.
    """
    wanted = num_prompt if num_keep < 0 else num_keep + begins
    return max(0, min(wanted, num_prompt, num_ctx - max(SMALLEST_WINDOW, num_ctx // _ROOM)))


def tokens_to_drop(sequence: Sequence) -> int:
    """Return how many tokens behind the kept ones a full sequence loses: half of them."""
    return (len(sequence.tokens) - 1 - sequence.request.keep) // 2


def shift(sequence: Sequence, context: Context, *, shared: bool) -> None:
    """Drop half of what a full sequence may lose.

    `shared` says that another one may share cells that would move: they must not, so they become this sequence's own
    first. Where the memory cannot move its cells, what is left behind the kept tokens is computed again.
    """
    keep, count = sequence.request.keep, tokens_to_drop(sequence)
    moved = context.can_shift and sequence.computed > keep + count  # its memory may have been lost meanwhile
    if moved and shared:
        moved = context.own(sequence.slot)
    moved = moved and context.shift(sequence.slot, keep, count)
    sequence.lose(keep, count)
    if not moved:
        sequence.restart(keep if context.cut(sequence.slot, keep) else 0)
