"""Prompts of a length and a beginning of their own."""

from __future__ import annotations

import itertools
import random

_NOUNS = (
    *("water", "time", "house", "road", "light", "world", "night", "story", "morning", "school", "city"),
    *("music", "garden", "table", "river", "money", "summer", "winter", "island", "paper", "window", "letter"),
    *("market", "doctor", "friend", "family", "mother", "father", "brother", "sister", "teacher", "student", "company"),
    *(
        "country",
        "village",
        "forest",
        "mountain",
        "street",
        "station",
        "picture",
        "machine",
        "engine",
        "animal",
        "horse",
    ),
    *("bird"),
)
_counter = itertools.count(1)


def fresh_words(count: int) -> str:
    """Words that no prompt before began with; a word is a token to the models that are measured."""
    drawn = random.Random(next(_counter))
    return " ".join(drawn.choices(_NOUNS, k=count))


def story_prompt() -> str:
    """A short prompt that a long answer follows."""
    return f"This is a long story about {fresh_words(3)}.\n\nOnce upon a time"


def long_prompt(num_tokens: int) -> str:
    """A prompt of about so many tokens that nothing in a cache helps with."""
    return fresh_words(num_tokens - 12) + ".\n\nThe next part of the story is this:"


def chat_turn(answer: str = "") -> str:
    """What a ChatML conversation goes on with: the end of an answer, and the next question."""
    closed = f"{answer}<|im_end|>\n" if answer else ""
    return f"{closed}<|im_start|>user\nTell me more about {fresh_words(40)}.<|im_end|>\n<|im_start|>assistant\n"
