"""How long a running answer stands still while somebody else's long prompt is computed."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import long_prompt, story_prompt
from tests.bench.side_by_side import against_peer, in_turns, ours_alone, side_by_side
from tests.bench.streams import Ask, Server, Stream, read_until, worst_gap_s

PARALLEL = 2
NUM_CTX = 8192
PROMPT_TOKENS = 4000
LONGEST_PROMPT = 8000
PAIRS = 2
LONGEST_RUNS = 1
"""Few, for each takes minutes, and a longest wait among thousands is no matter of chance."""
BEFORE = 40


def stall_figures(store: Path, home: Path) -> Iterator[Figure]:
    """The longest wait for a token, against the peer's and against the waits when nothing else runs."""
    with side_by_side(store, home, SMOLLM2, parallel=PARALLEL, num_ctx=NUM_CTX) as (ours, peer):
        pairs = in_turns(lambda server: _gaps_s(server, PROMPT_TOKENS)[0], ours, peer, PAIRS)
    yield against_peer("SmolLM2, 4000-token prompt arrives: worst gap", "s", pairs, 0.25, most=True)
    with ours_alone(store, home, SMOLLM2, parallel=PARALLEL, num_ctx=NUM_CTX) as ours:
        gaps = [_gaps_s(ours, LONGEST_PROMPT) for _ in range(LONGEST_RUNS)]
    name = "SmolLM2, 8000-token prompt arrives: worst gap : step"
    yield against_peer(name, "s", gaps, 3.0, most=True, other="a step alone")


def _gaps_s(server: Server, prompt_tokens: int) -> tuple[float, float]:
    """The longest wait while the prompt is computed, and the usual one before it came."""
    running = Stream(server, Ask(story_prompt(), NUM_CTX // 2))
    try:
        read_until([running], lambda: running.pieces > BEFORE)
        long = Stream(server, Ask(long_prompt(prompt_tokens), 1))
        begun = running.pieces
        read_until([running, long], lambda: long.over)
        ended = long.began + long.reply().last_s
        # A server that computed the prompt in one go has sent the other's next token only after it.
        pieces = running.pieces
        read_until([running], lambda: running.pieces > pieces or running.over)
        if running.over:
            raise ValueError("the running answer ended too soon to be measured")
        reply = running.reply()
    finally:
        running.socket.close()
    before = reply.arrivals[: begun - 1]
    steps = [b - a for a, b in itertools.pairwise(before)]
    return worst_gap_s(reply, long.began, ended), statistics.median(steps)
