"""How long until an answer begins: after a new prompt, after one that others share, and in a conversation."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.bench.engine_floor import Floor, floor_process
from tests.bench.figures import Figure
from tests.bench.models import GEMMA3, SMOLLM2
from tests.bench.prompts import chat_turn, fresh_words, long_prompt
from tests.bench.side_by_side import RUNS, against_peer, in_turns, side_by_side
from tests.bench.streams import Ask, Server, ask_all, ask_one, span_s

STREAMS = 8
NUM_CTX = 2048
PROMPT_TOKENS = 512
SHARED_TOKENS = 1000
OWN_TOKENS = 20
ANSWER_TOKENS = 32
TURNS = 10
FIRST_RUNS = 7


def first_token_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Seconds until the first token after a prompt that nothing is cached of."""
    for model in (SMOLLM2, GEMMA3):
        with side_by_side(store, home, model, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer):
            in_turns(_first_s, ours, peer, 1)  # a server that learns how fast the machine is has learnt it then
            pairs = in_turns(_first_s, ours, peer, FIRST_RUNS)
        yield against_peer(f"{model.label}, 512-token prompt: first token", "s", pairs, 1.0, most=True)


def shared_prompt_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Seconds until eight are answered whose prompts begin with the same new text."""
    model = SMOLLM2
    with (
        side_by_side(store, home, model, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer),
        floor_process(model.fetch(), num_cells=NUM_CTX * STREAMS) as floor,
    ):
        rounds = [(_shared_s(ours), _shared_s(peer), _shared_floor_s(floor)) for _ in range(RUNS)]
    against = [(mine, theirs) for mine, theirs, _ in rounds]
    above = [(mine, bare) for mine, _, bare in rounds]
    name = f"{model.label}, 8 share 1000 new tokens: all answered"
    yield against_peer(name, "s", against, 0.2, most=True)
    yield against_peer(f"{name}, floor", "s", above, 1.15, most=True, other="bare llama.cpp")


def chat_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Seconds until an answer's first token, the mean over a conversation's turns."""
    with side_by_side(store, home, SMOLLM2, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer):
        pairs = in_turns(_chat_s, ours, peer)
    yield against_peer("SmolLM2, ten-turn chat: mean first token", "s", pairs, 1.0, most=True)


def _first_s(server: Server) -> float:
    return ask_one(server, Ask(long_prompt(PROMPT_TOKENS), 2)).first_s


def _shared_prompts() -> tuple[str, list[str]]:
    shared = fresh_words(SHARED_TOKENS)
    return shared, [f" {fresh_words(OWN_TOKENS)}.\n\nThen" for _ in range(STREAMS)]


def _shared_s(server: Server) -> float:
    shared, own = _shared_prompts()
    return span_s(ask_all(server, [Ask(shared + rest, ANSWER_TOKENS) for rest in own]))


def _shared_floor_s(floor: Floor) -> float:
    return floor.shared_s(*_shared_prompts(), ANSWER_TOKENS)


def _chat_s(server: Server) -> float:
    prompt, firsts = chat_turn(), []
    for _ in range(TURNS):
        reply = ask_one(server, Ask(prompt, ANSWER_TOKENS))
        firsts.append(reply.first_s)
        prompt += chat_turn(reply.text)
    return statistics.mean(firsts)
