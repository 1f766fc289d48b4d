"""How fast tokens come: for one who waits, for many at once, under a schema, and where the answer repeats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure
from tests.bench.models import GEMMA3, SMOLLM2
from tests.bench.prompts import fresh_words, story_prompt
from tests.bench.side_by_side import RUNS, against_peer, in_turns, ours_alone, side_by_side
from tests.bench.streams import Ask, Server, ask_all, ask_one, span_s

TOKENS = 128
STREAMS = 8
MOST_STREAMS = 16
NUM_CTX = 2048
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {
            "type": "array",
            "minItems": 40,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 20},
                    "age": {"type": "integer"},
                    "city": {"enum": ["Rome", "Paris", "London"]},
                    "member": {"type": "boolean"},
                },
                "required": ["name", "age", "city", "member"],
            },
        }
    },
    "required": ["people"],
}
TEXT = (
    "The harbour lay quiet in the early morning, and only the gulls were awake. Anna walked along the pier with a "
    "basket under her arm. She had promised her brother to bring bread and cheese to the boat before the tide went "
    "out. The old lighthouse keeper waved at her from his window, as he did every day, and she waved back."
)


def one_stream_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Tokens per second of an answer that has the machine for itself."""
    for model in (SMOLLM2, GEMMA3):
        with side_by_side(store, home, model, parallel=STREAMS, num_ctx=NUM_CTX) as (ours, peer):
            pairs = in_turns(_speed, ours, peer)
        yield against_peer(f"{model.label}, one stream: tokens/s", "tok/s", pairs, 1.0, most=False)


def many_streams_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Tokens per second of all answers together, from the questions to the last answer's end."""
    for model, streams in ((SMOLLM2, STREAMS), (SMOLLM2, MOST_STREAMS), (GEMMA3, STREAMS), (GEMMA3, MOST_STREAMS)):

        def speed(server: Server, streams: int = streams) -> float:
            replies = ask_all(server, [Ask(story_prompt(), TOKENS) for _ in range(streams)])
            return streams * TOKENS / span_s(replies)

        with side_by_side(store, home, model, parallel=streams, num_ctx=NUM_CTX) as (ours, peer):
            pairs = in_turns(speed, ours, peer)
        yield against_peer(f"{model.label}, {streams} streams: tokens/s", "tok/s", pairs, 1.0, most=False)


def schema_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Tokens per second under a JSON Schema: against free text, and against the peer under the same schema.

    Against free text nothing is guessed ahead: that pays by how much a text repeats itself, bound or not.
    """
    with side_by_side(store, home, SMOLLM2, parallel=1, num_ctx=NUM_CTX) as (ours, peer):
        ask_one(ours, _bound_ask())  # the first schema has the vocabulary read
        free = [(_bound_speed(ours, draft_num_predict=0), _speed(ours, draft_num_predict=0)) for _ in range(RUNS)]
        against = in_turns(_bound_speed, ours, peer)
    yield against_peer("SmolLM2, JSON Schema : free text, tokens/s", "tok/s", free, 0.95, most=False, other="free")
    yield against_peer("SmolLM2, JSON Schema: tokens/s", "tok/s", against, 1.0, most=False)


def speculation_figures(store: Path, home: Path) -> Iterator[Figure]:
    """Tokens per second of an answer that repeats its prompt, with guesses from the prompt and without."""
    with ours_alone(store, home, SMOLLM2, parallel=1, num_ctx=NUM_CTX) as ours:

        def speed(**options: int) -> float:
            prompt = (
                f'{fresh_words(3)}.\n\n{TEXT}\n\n{TEXT}\n\nThe same with "Anna" replaced by "Maria":\n\nThe harbour'
            )
            return ask_one(ours, Ask(prompt, TOKENS // 2, options=options)).tokens_per_s

        pairs = [(speed(), speed(draft_num_predict=0)) for _ in range(RUNS)]
    yield against_peer("SmolLM2, repeating its prompt: tokens/s", "tok/s", pairs, 1.5, most=False, other="without")


def _speed(server: Server, **options: int) -> float:
    return ask_one(server, Ask(story_prompt(), TOKENS, options=options)).tokens_per_s


def _bound_ask(**options: int) -> Ask:
    return Ask(f"A list of people from {fresh_words(3)} as JSON:\n", TOKENS, schema=SCHEMA, options=options)


def _bound_speed(server: Server, **options: int) -> float:
    return ask_one(server, _bound_ask(**options)).tokens_per_s
