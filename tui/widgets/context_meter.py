"""How full a model's context is, and what of a conversation the next request would lose."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corral.tui import figures
from corral.tui.turns import Turn
from corral.tui.widgets.glyphs import Glyphs, bar

__all__ = ["Meter", "meter", "will_be_cut"]

_WIDTH = 10
_ALMOST_FULL = 0.8


class Meter(msgspec.Struct, frozen=True):
    """`ctx 3.1k/8k ▓▓▓░░ 38%` and whether there is something to mind."""

    text: str
    is_tight: bool


def meter(used: int, draft: int, limit: int, *, cut: int = 0, is_wide: bool = False) -> Meter:
    """Draw it: tokens of the chat, of the question not sent yet, and of the context, 0 where it is not known."""
    more = f"+{figures.count(draft)}" if draft else ""
    if not limit:
        return Meter(f"ctx {figures.count(used)}{more}" if used or draft else "", False)
    share = min((used + draft) / limit, 1.0)
    is_tight = share >= _ALMOST_FULL or cut > 0
    text = f"{'! ' if is_tight else ''}ctx {figures.count(used)}{more}/{figures.context(limit)}"
    if is_wide:
        text += f" {bar(share, _WIDTH, Glyphs.BLOCK)}"
    return Meter(f"{text} {share * 100:.0f}%" + (f" ✂ {cut} oldest" if cut else ""), is_tight)


def will_be_cut(turns: Sequence[Turn], draft: int, limit: int) -> list[Turn]:
    """The oldest messages that do not fit any more, from what the answers so far said of their prompts.

    As the runtime does it: what is kept begins with a question, and the last one stays.
    """
    total = next((_total(turn) for turn in reversed(turns) if _total(turn)), 0)
    excess = total + draft - limit
    if limit <= 0 or excess <= 0:
        return []
    freed = 0
    for number, turn in enumerate(turns):
        if number and turn.role == "user" and freed >= excess:
            return list(turns[:number])
        freed = max(freed, _total(turn))
    questions = [number for number, turn in enumerate(turns) if turn.role == "user"]
    return list(turns) if draft else list(turns[: questions[-1]]) if questions else []


def _total(turn: Turn) -> int:
    return turn.stats.prompt_tokens + turn.stats.output_tokens if turn.stats.prompt_tokens else 0
