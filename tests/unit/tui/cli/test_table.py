from __future__ import annotations

from corral.tui.cli.table import cells, section, table


def test_every_column_is_padded_and_followed_by_four_blanks() -> None:
    assert table(("NAME", "ID"), [("smollm2:135m", "abc")]) == ("NAME            ID     \nsmollm2:135m    abc    \n")


def test_a_header_alone() -> None:
    assert table(("NAME", "ID"), []) == "NAME    ID    \n"


def test_a_section_is_indented_and_ends_with_an_empty_line() -> None:
    assert section("Model", [("architecture", "llama"), ("parameters", "134.52M")]) == (
        "  Model\n    architecture    llama      \n    parameters      134.52M    \n\n"
    )


def test_wide_and_combining_characters_count_as_a_terminal_counts() -> None:
    assert cells("日本") == 4
    assert cells("e\u0301") == 1
    assert table(("A", "B"), [("日本", "x")]).splitlines()[1] == "日本    x    "


def test_what_stands_in_a_cell_cannot_move_the_cursor() -> None:
    assert "\x1b" not in table(("NAME",), [("evil\x1b[2J\nname",)])
    assert len(table(("NAME",), [("two\nlines",)]).splitlines()) == 2
