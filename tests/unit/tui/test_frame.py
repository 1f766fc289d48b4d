"""The way from one screen to another, walked by a terminal that is not ours."""

from __future__ import annotations

import hashlib
import unicodedata
from copy import deepcopy

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from wcwidth import wcwidth

from corral.tui.frame import Frame, way

WIDTH, HEIGHT = 24, 8
STYLES = [
    Style(),
    Style(color="#102030"),
    Style(color="#102030", bgcolor="#405060"),
    Style(bgcolor="color(7)", bold=True),
    Style(reverse=True),
    Style(color="red"),
    Style(color="red", link="https://sea.example/x"),
]
WRITTEN = [*"ab  x漢字é─שם한", "e\u0301", "ก\u0e47", "👍"]
"""Of each kind that `tui/text.py` lets through: it takes flags and joined emoji apart."""
texts = st.lists(st.sampled_from(WRITTEN), max_size=12).map("".join)
parts = st.tuples(texts, st.sampled_from(STYLES))
rows = st.lists(parts, max_size=6)
patches = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 7), parts), max_size=4)
screens = st.lists(rows, min_size=HEIGHT, max_size=HEIGHT)


def frame_of(screen: list[list[tuple[str, Style]]]) -> Frame:
    frame = Frame(WIDTH, HEIGHT)
    for y, parts in enumerate(screen):
        frame.put(0, y, Strip([Segment(text, style) for text, style in parts]).crop(0, WIDTH), ColorSystem.TRUECOLOR)
    return frame


def looks(terminal: pyte.Screen) -> list[list[tuple[object, ...]]]:
    """Every cell; of a blank only what can be seen."""
    cells = [[terminal.buffer[y][x] for x in range(WIDTH)] for y in range(HEIGHT)]
    return [[(c.data, c.bg, c.reverse, c.data.isspace() or (c.fg, c.bold)) for c in row] for row in cells]


class Emulator(pyte.Screen):
    """pyte leaves off at marks that Unicode gives no class of combining."""

    def draw(self, data: str) -> None:
        super().draw("".join(one for one in data if unicodedata.combining(one) or wcwidth(one) != 0))


def drawn(frames: list[Frame], *, can_erase: bool) -> pyte.Screen:
    terminal = Emulator(WIDTH, HEIGHT)
    stream = pyte.Stream(terminal)
    stream.feed("\x1b[?7l")  # as when the program starts
    shown = Frame.unknown(WIDTH, HEIGHT)
    for frame in frames:
        stream.feed(way(shown, frame, can_erase=can_erase))
        assert way(shown, frame, can_erase=can_erase) == ""
    return terminal


@given(st.lists(screens, min_size=1, max_size=4), st.booleans())
def test_the_end_of_the_way_looks_as_if_it_had_been_drawn_at_once(
    several: list[list[list[tuple[str, Style]]]], can_erase: bool
) -> None:
    step_by_step = drawn([frame_of(screen) for screen in several], can_erase=can_erase)
    assert looks(step_by_step) == looks(drawn([frame_of(several[-1])], can_erase=False))


@given(screens, st.lists(patches, min_size=1, max_size=4), st.booleans())
def test_what_is_drawn_over_parts_of_a_screen_ends_as_if_drawn_at_once(
    screen: list[list[tuple[str, Style]]],
    several: list[list[tuple[int, int, tuple[str, Style]]]],
    can_erase: bool,
) -> None:
    frames = [frame_of(screen)]
    for patched in several:
        frame = deepcopy(frames[-1])
        for x, y, part in patched:
            frame.put(x, y, Strip([Segment(*part)]).crop(0, WIDTH - x), ColorSystem.TRUECOLOR)
        frames.append(frame)
    assert looks(drawn(frames, can_erase=can_erase)) == looks(drawn(frames[-1:], can_erase=False))


@given(st.lists(st.text(st.sampled_from("abcdefg "), min_size=15, max_size=22), min_size=20, max_size=20), st.data())
def test_what_scrolls_in_either_direction_ends_where_it_should(lines: list[str], data: st.DataObject) -> None:
    tops = data.draw(st.lists(st.integers(0, 20 - HEIGHT), min_size=2, max_size=4))
    frames = [frame_of([[("│", STYLES[1]), (line, STYLES[2])] for line in lines[top : top + HEIGHT]]) for top in tops]
    assert looks(drawn(frames, can_erase=True)) == looks(drawn(frames[-1:], can_erase=False))


def page(first: int, height: int = 30) -> Frame:
    frame = Frame(80, height)
    for y in range(height):
        text = "rail" if y == 3 else "    "
        words = hashlib.sha256(str(first + y).encode()).hexdigest()
        text += f" {words} "
        frame.put(0, y, Strip([Segment(text, STYLES[1])]), ColorSystem.TRUECOLOR)
    return frame


@pytest.mark.parametrize("by", [1, 4, -3])
def test_a_view_that_scrolled_is_moved_by_the_terminal(by: int) -> None:
    shown = Frame.unknown(80, 30)
    whole = way(shown, page(10), can_erase=False)
    moved = way(shown, page(10 + by), can_erase=False)
    assert len(moved) < len(whole) / 4
    assert "r\x1b[" in moved


def test_one_letter_costs_a_few_bytes() -> None:
    shown, wanted = Frame.unknown(80, 30), page(0)
    way(shown, wanted, can_erase=False)
    wanted.put(30, 5, Strip([Segment("Z", STYLES[1])]), ColorSystem.TRUECOLOR)
    assert len(way(shown, wanted, can_erase=False)) < 40


def test_what_covers_half_of_a_wide_character_leaves_a_blank() -> None:
    frame = Frame(10, 1)
    frame.put(0, 0, Strip([Segment("漢字漢")]), ColorSystem.TRUECOLOR)
    frame.put(1, 0, Strip([Segment("ab")]), ColorSystem.TRUECOLOR)
    assert frame.texts[0][:6] == [" ", "a", "b", " ", "漢", ""]


def test_marks_stay_on_the_letter_they_belong_to() -> None:
    frame = Frame(4, 1)
    frame.put(0, 0, Strip([Segment("e\u0301x")]), ColorSystem.TRUECOLOR)
    assert frame.texts[0] == ["e\u0301", "x", " ", " "]


@pytest.mark.parametrize("before", ["FROM", "x" * 60, ""])
def test_what_terminals_take_for_wider_leaves_the_frame_where_it_stands(before: str) -> None:
    """A cursor among emoji counts their parts, so an editor draws them as they are."""

    def row(text: str) -> Frame:
        frame = Frame(60, 1)
        frame.put(0, 0, Strip([Segment("┃  2  "), Segment(text + " " * 60)]).crop(0, 59), ColorSystem.TRUECOLOR)
        frame.put(59, 0, Strip([Segment("┃")]), ColorSystem.TRUECOLOR)
        return frame

    emoji = "👍🏽 🏽🏿 🇩🇪🇫 ❤\ufe0f 1\ufe0f\u20e3"
    for text in (emoji, f"{emoji} [x](javascript:alert(1)) and so on, to the very end", f"{'and ' * 9}so on {emoji}"):
        terminal = Emulator(60, 1)
        stream = pyte.Stream(terminal)
        stream.feed("\x1b[?7l")
        shown = Frame.unknown(60, 1)
        for frame in (row(before), row(text)):
            stream.feed(way(shown, frame, can_erase=True))
        seen = [terminal.buffer[0][x].data for x in range(60)]
        sure = [x for x, one in enumerate(row(text).texts[0]) if one == "┃" or (one.isalnum() and one.isascii())]
        assert [seen[x] for x in sure] == [row(text).texts[0][x] for x in sure]
        assert "x" not in seen or "x" in text, "something of before is left"
