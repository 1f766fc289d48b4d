from __future__ import annotations

import io

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.verbs import Stats
from corral.tui.cli.answer import Printer, Thoughts, Wrapper, summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen_of(text: str, width: int) -> list[str]:
    screen = pyte.Screen(width, 60)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def test_words_move_to_the_next_line_as_a_whole() -> None:
    wrapper = Wrapper(20)
    text = "".join(wrapper.feed(char) for char in "the quick brown fox jumps")
    assert screen_of(text, 20) == ["the quick brown", "fox jumps"]


def test_a_word_longer_than_a_line_is_cut() -> None:
    assert screen_of(Wrapper(15).feed("abcdefghijklmnopqrst"), 15) == ["abcdefghij", "klmnopqrst"]


@given(st.lists(st.text(alphabet="abcdefgh \n日", max_size=12), max_size=20), st.integers(12, 60))
def test_nothing_is_lost_and_no_line_is_too_long(pieces: list[str], width: int) -> None:
    wrapper = Wrapper(width)
    lines = screen_of("".join(map(wrapper.feed, pieces)), width)
    assert "".join("".join(lines).split()) == "".join("".join(pieces).split())[: len("".join("".join(lines).split()))]
    assert all(len(line) <= width for line in lines)


def test_a_terminal_gets_no_control_characters_of_the_model() -> None:
    terminal = Terminal()
    printer = Printer(terminal, wrap=False)
    for piece in ("a\x1b", "]52;c;AAAA\x07", "b\r", "\nc\r", "d"):
        printer.write(piece)
    assert terminal.getvalue() == "a␛]52;c;AAAA␇b\nc␍d"


def test_a_pipe_gets_what_the_model_said() -> None:
    pipe = io.StringIO()
    Printer(pipe, wrap=True).write("a\x1b[1mb\r")
    assert pipe.getvalue() == "a\x1b[1mb\r"


def test_thoughts_on_a_terminal_stand_between_two_lines_in_grey() -> None:
    terminal = Terminal()
    thoughts = Thoughts(terminal, wrap=False)
    for piece in ("a\x1b", "]b\n"):
        thoughts.write(piece)
    thoughts.close()
    thoughts.abandon()
    grey, bold, plain = "\x1b[38;5;245m", "\x1b[1m", "\x1b[0m"
    assert terminal.getvalue() == (
        f"{grey}{bold}Thinking...\n{plain}{grey}a␛]b\n{grey}{bold}...done thinking.\n\n{plain}"
    )
    thoughts.write("more")
    thoughts.abandon()
    assert terminal.getvalue().endswith(f"more{plain}")


def test_the_eight_figures() -> None:
    stats = Stats(2_500_000_000, 1_000_000, 12, 0, 100_000_000, 30, 1_500_000_000)
    assert summary(stats).splitlines() == [
        "total duration:       2.5s",
        "load duration:        1ms",
        "prompt eval count:    12 token(s)",
        "prompt eval duration: 100ms",
        "prompt eval rate:     120.00 tokens/s",
        "eval count:           30 token(s)",
        "eval duration:        1.5s",
        "eval rate:            20.00 tokens/s",
    ]


@pytest.mark.parametrize("stats", [Stats()])
def test_no_time_is_no_rate(stats: Stats) -> None:
    assert "prompt eval rate:     0.00 tokens/s" in summary(stats)
