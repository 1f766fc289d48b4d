"""Cutting a conversation to the context: the oldest messages go, the system's and the last one stay (spec a.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.runtime.engine.protocol import Turn


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt's tokens, how many old messages were left out, and its text. It may still be too long."""

    tokens: list[int]
    dropped: int
    text: str


def cut_middle(tokens: list[int], keep: int, length: int) -> list[int]:
    """Return `length` of a prompt's tokens: the first `keep` and the last ones."""
    return tokens[:keep] + tokens[len(tokens) - (length - keep) :]


def fit(
    turns: Sequence[Turn],
    render: Callable[[Sequence[Turn]], str],
    tokenize: Callable[[str], list[int]],
    num_ctx: int,
) -> Fitted:
    """Render as much of a conversation as `num_ctx` tokens hold.

    What is kept begins with a message of the user (or is only the last one), because many templates insist on that.
    """
    whole = _fitted(turns, 0, render, tokenize)
    cuts = _cuts(turns)
    if len(whole.tokens) <= num_ctx or not cuts:
        return whole
    low, high = 0, len(cuts) - 1
    best: Fitted | None = None
    while low <= high:
        middle = (low + high) // 2
        kept = _without(turns, cuts[middle])
        candidate = _fitted(kept, len(turns) - len(kept), render, tokenize)
        if len(candidate.tokens) <= num_ctx:
            best, high = candidate, middle - 1
        else:
            low = middle + 1
    if best is None:
        kept = _without(turns, cuts[-1])
        best = _fitted(kept, len(turns) - len(kept), render, tokenize)
    return best


def _fitted(
    turns: Sequence[Turn], dropped: int, render: Callable[[Sequence[Turn]], str], tokenize: Callable[[str], list[int]]
) -> Fitted:
    text = render(turns)
    return Fitted(tokenize(text), dropped, text)


def _cuts(turns: Sequence[Turn]) -> list[int]:
    """Return the indices at which what is kept may begin, ascending; dropping nothing is not among them."""
    last = len(turns) - 1
    first = next((index for index, turn in enumerate(turns) if turn.role != "system"), last)
    return [i for i in range(first + 1, last + 1) if i == last or turns[i].role == "user"]


def _without(turns: Sequence[Turn], cut: int) -> list[Turn]:
    """Return the conversation from `cut` on, behind the system messages before it."""
    return [turn for turn in turns[:cut] if turn.role == "system"] + list(turns[cut:])
