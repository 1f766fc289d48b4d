from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.text import TextStream

TEXT = st.text(st.sampled_from("abcé🦊\n"), max_size=30)
STOPS = st.lists(st.text(st.sampled_from("abcé🦊"), min_size=1, max_size=4), max_size=3)


def stream(text: str, stops: list[str], cuts: list[int]) -> tuple[list[str], TextStream]:
    """Push a text's bytes in pieces that end at `cuts`, and flush."""
    data = text.encode()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    ready = TextStream(stops)
    said = [ready.push(data[start:end]) for start, end in itertools.pairwise(edges)]
    return [*said, ready.flush()], ready


@given(TEXT, STOPS, st.lists(st.integers(0, 200), max_size=40))
def test_the_text_is_what_stands_before_the_earliest_stop(text: str, stops: list[str], cuts: list[int]) -> None:
    said, ready = stream(text, stops, cuts)
    places = [text.find(stop) for stop in stops if stop in text]
    # A stop that is complete ends the text at once, even where a longer one with an earlier beginning could follow.
    if not places:
        assert "".join(said) == text
        assert (ready.stopped, ready.stop) == (False, "")
    else:
        assert ready.stopped
        assert ready.stop in stops
        assert text.startswith("".join(said) + ready.stop)
        assert text.startswith("".join(said))
        assert not any(stop in "".join(said) for stop in stops)


@given(TEXT, st.lists(st.integers(0, 200), max_size=40))
def test_without_stops_nothing_is_held_back_but_parts_of_characters(text: str, cuts: list[int]) -> None:
    data = text.encode()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    ready, said = TextStream(), ""
    for start, end in itertools.pairwise(edges):
        said += ready.push(data[start:end])
        assert said == data[:end].decode(errors="ignore")


def test_a_possible_stop_is_held_back_until_it_is_none() -> None:
    ready = TextStream(["<end>"])
    assert ready.push(b"ab<e") == "ab"
    assert ready.push(b"n") == ""
    assert ready.push(b"x") == "<enx"


def test_a_stop_over_tokens_and_characters_is_cut() -> None:
    ready = TextStream(["é🦊"])
    data = "xé🦊y".encode()
    assert "".join(ready.push(data[i : i + 1]) for i in range(len(data))) == "x"
    assert ready.stop == "é🦊"
    assert ready.push(b"more") == ""
    assert ready.flush() == ""


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    ready = TextStream()
    assert ready.push(b"a" + "🦊".encode()[:3]) == "a"
    assert ready.flush() == ""


def test_bytes_that_are_no_text_become_the_replacement_character() -> None:
    assert TextStream().push(b"a\xffb") == "a�b"
