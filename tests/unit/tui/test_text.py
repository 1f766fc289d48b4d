from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from textual.content import Content

from corral.tui.text import clean, clean_line, fit, install_net

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff\ud800-\udfff]")
ATTACKS = ["\x1b]52;c;aGk=\x07", "\x1b[2J", "\x1b]0;title\x07", "\x1bPq\x1b\\", "\x9b2J", "\x9d0;t\x9c"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2J", "␛[2J"),
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("a\rb", "a␍b"),
        ("\x7f", "␡"),
        ("a\u202eb", "a\ufffdb"),
        ("a\u200bb\ufeff", "ab"),
        ("\ud800", "\ufffd"),
        ("漢字 é", "漢字 é"),
        ("👍🏽 ❤\ufe0f 🇩🇪", "👍 ❤ DE"),
    ],
)
def test_clean_makes_controls_visible(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text())
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    assert not OBEYED.search(clean(text))
    assert not OBEYED.search(clean_line(text))
    assert not set(clean_line(text)) & {"\n", "\t"}


def test_piled_marks_are_cut() -> None:
    assert len(clean("e" + "\u0301" * 100_000)) == 5


@given(st.text(), st.integers(0, 40))
def test_fit_never_exceeds_its_cells(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells)) <= cells
    assert cell_len(fit(text, cells, pad=True)) == cells


def test_fit_marks_what_it_cut() -> None:
    assert fit("smollm2:135m", 8) == "smollm2…"
    assert fit("smollm2", 8) == "smollm2"
    assert fit("漢字漢字", 6) == "漢字…"
    assert fit("x" * 10_000, 5) == "xxxx…"


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_net_keeps_escapes_from_every_text(attack: str) -> None:
    install_net()
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, color_system=None, width=80)
    console.print(Text(attack), end="")
    for text in (Content(attack).plain, drawn.getvalue()):
        assert "\x1b" not in text
        assert not re.search("[\x00-\x08\x0e-\x1f\x7f-\x9f]", text)


def test_what_was_cut_before_has_one_ellipsis() -> None:
    assert fit("one two…  three", 11) == "one two…"
    assert fit("one two… three", 9) == "one two…"
