"""Answers of the terminal that come in pieces, between keys, late, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.tui.answers import AnswerSieve

KEYS = st.sampled_from(["a", "字", "\x1b[A", "\x1bOQ", "\x1b[15~", "\x1b[<0;3;4M", "\r", "\x1b[I", "[", "7", ";", "R"])
ANSWER = "\x1b[36;120R"


def sifted(pieces: list[tuple[str, float]]) -> tuple[str, int]:
    """What is left of pieces, each read some seconds after the one before."""
    sieve, now_s, left, count = AnswerSieve(), 0.0, "", 0
    sieve.is_asked = True
    for piece, after_s in pieces:
        for _ in range(int(after_s / 0.05)):
            now_s += 0.05
            left += sieve.overdue(now_s)
        rest, answers = sieve.feed(piece, now_s)
        left, count = left + rest, count + answers
    for _ in range(100):
        now_s += 0.05
        left += sieve.overdue(now_s)
    return left, count


@given(st.lists(st.one_of(KEYS, st.just(ANSWER)), max_size=12), st.data())
def test_keys_are_the_same_however_answers_among_them_are_cut(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pieces = [(text[a:b], 0.0) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert sifted(pieces) == (text.replace(ANSWER, ""), words.count(ANSWER))


@pytest.mark.parametrize("cut", range(2, len(ANSWER)))
@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.6])
def test_an_answer_in_late_pieces_is_no_keys(cut: int, after_s: float) -> None:
    assert sifted([("a" + ANSWER[:cut], 0.0), (ANSWER[cut:] + "b", after_s)]) == ("ab", 1)


def test_of_an_answer_that_stops_after_its_escape_only_that_is_a_key() -> None:
    assert sifted([("\x1b", 0.0), ("[36;", 0.25), ("120Rx", 0.15)]) == ("\x1bx", 1)


def test_escape_is_a_key_after_a_tenth_of_a_second_and_a_bracket_behind_it_another() -> None:
    sieve = AnswerSieve()
    assert sieve.feed("\x1b", 0.0) == ("", 0)
    assert sieve.overdue(0.05) == ""
    assert sieve.overdue(0.15) == "\x1b"
    assert sieve.overdue(9.0) == ""
    assert sifted([("\x1b", 0.0), ("[", 1.0)]) == ("\x1b[", 0)
    assert sifted([("\x1b", 0.0), ("[x", 0.2)]) == ("\x1b[x", 0)
