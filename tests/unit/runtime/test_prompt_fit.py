from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.protocol import Turn
from corral.runtime.prompt.fit import fit

TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), st.text("ab", max_size=12)),
    min_size=1,
    max_size=12,
)


def render(turns: Sequence[Turn]) -> str:
    return "".join(f"<{turn.role[0]}{turn.content}>" for turn in turns)


def tokenize(text: str) -> list[int]:
    return [ord(character) for character in text]


@given(TURNS, st.integers(1, 150))
def test_the_oldest_go_and_systems_and_the_last_stay(turns: list[Turn], num_ctx: int) -> None:
    fitted = fit(turns, render, tokenize, num_ctx)
    text = "".join(map(chr, fitted.tokens))
    cut = [t for t in turns if t.role == "system"]
    assert text.endswith(render(turns[-1:]))
    assert text.count("<s") == len(cut)
    if len(tokenize(render(turns))) <= num_ctx:
        assert fitted.dropped == 0
    if fitted.dropped and len(fitted.tokens) > num_ctx:
        least = render([turn for turn in turns[:-1] if turn.role == "system"] + turns[-1:])
        assert text == least


def test_no_more_is_dropped_than_needed_and_a_user_begins() -> None:
    turns = [Turn("system", "s"), Turn("user", "1"), Turn("assistant", "2"), Turn("user", "3"), Turn("assistant", "4")]
    turns.append(Turn("user", "5"))
    fitted = fit(turns, render, tokenize, 20)
    assert "".join(map(chr, fitted.tokens)) == "<ss><u3><a4><u5>"
    assert fitted.dropped == 2


def test_one_message_that_is_too_long_is_left_to_the_caller() -> None:
    fitted = fit([Turn("user", "x" * 50)], render, tokenize, 10)
    assert len(fitted.tokens) == 53
    assert fitted.dropped == 0


def test_what_fits_is_rendered_once() -> None:
    rendered: list[int] = []

    def counted(turns: Sequence[Turn]) -> str:
        rendered.append(len(turns))
        return render(turns)

    fit([Turn("user", "1"), Turn("assistant", "2"), Turn("user", "3")], counted, tokenize, 12)
    assert rendered == [3]
