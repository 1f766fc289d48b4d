"""How many greedy answers come out otherwise when others run beside them: llama.cpp rounds by what shares a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import story_prompt
from tests.bench.side_by_side import side_by_side
from tests.bench.streams import Ask, Server, ask_all, ask_one

STREAMS = 16
TOKENS = 64
ROUNDS = 2
NUM_CTX = 1024


def rounding_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Of sixteen answers, how many differ from what was answered to the same prompt alone; the goal is the peer's."""
    with side_by_side(store, home, SMOLLM2, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer):
        asks = [[Ask(story_prompt(), TOKENS) for _ in range(STREAMS)] for _ in range(ROUNDS)]
        mine = tuple(float(_parted(ours, some)) for some in asks)
        theirs = [_parted(peer, some) for some in asks]
    note = f"peer {', '.join(map(str, theirs))}"
    yield Figure("SmolLM2, answers that part among 15 others", mine, "of 16", max(theirs), note=note)


def _parted(server: Server, asks: list[Ask]) -> int:
    alone = [ask_one(server, ask).text for ask in asks]
    together = [reply.text for reply in ask_all(server, asks)]
    return sum(one != other for one, other in zip(alone, together, strict=True))
