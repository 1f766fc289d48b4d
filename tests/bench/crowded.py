"""How fast tokens come while another program keeps a processor busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.bench.engine_speed import NUM_CTX, STREAMS
from tests.bench.figures import Figure
from tests.bench.models import SMOLLM2
from tests.bench.prompts import story_prompt
from tests.bench.side_by_side import against_peer, in_turns, side_by_side
from tests.bench.streams import Ask, Server, ask_all, span_s

TOKENS = 32
"""Few: the peer says one or two a second."""
RUNS = 3
_BUSY = [sys.executable, "-c", "while True: pass"]


def crowded_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Tokens per second of one answer and of eight beside one busy process, without guesses."""
    with side_by_side(store, home, SMOLLM2, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer), busy():
        for streams in (1, STREAMS):

            def speed(server: Server, streams: int = streams) -> float:
                asks = [Ask(story_prompt(), TOKENS, options={"draft_num_predict": 0}) for _ in range(streams)]
                return streams * TOKENS / span_s(ask_all(server, asks))

            pairs = in_turns(speed, replace(ours, threads=0), peer, RUNS)
            name = f"SmolLM2, {streams} streams beside a busy process: tokens/s"
            yield against_peer(name, "tok/s", pairs, 1.0, most=False)


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep one processor busy, in a session of its own as somebody else's program would."""
    process = subprocess.Popen(_BUSY, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()
