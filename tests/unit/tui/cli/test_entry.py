from __future__ import annotations

import pytest

from corral.tui.cli.entry import Assembler, Entry, EntryKind


@pytest.mark.parametrize(
    ("lines", "entry"),
    [
        (["hello"], Entry(EntryKind.MESSAGE, "hello")),
        (['"""one line"""'], Entry(EntryKind.MESSAGE, "one line")),
        (['"""a', "b", 'c"""'], Entry(EntryKind.MESSAGE, "a\nb\nc")),
        (['"""', "a", '"""'], Entry(EntryKind.MESSAGE, "\na\n")),
        (['"""a\n/bye\nc"""'], Entry(EntryKind.MESSAGE, "a\n/bye\nc")),
        (["pasted\n/bye"], Entry(EntryKind.MESSAGE, "pasted\n/bye")),
        (["/set system You are  a pirate"], Entry(EntryKind.SYSTEM, "You are  a pirate")),
        (['/set system """You', 'are"""'], Entry(EntryKind.SYSTEM, "You\nare")),
        (["/set system "], Entry(EntryKind.COMMAND, "/set system ")),
        (["/show info"], Entry(EntryKind.COMMAND, "/show info")),
    ],
)
def test_lines_become_an_entry(lines: list[str], entry: Entry) -> None:
    assembler = Assembler()
    *first, last = lines
    for line in first:
        assert assembler.feed(line) is None
        assert assembler.open
    assert assembler.feed(last) == entry
    assert not assembler.open


def test_an_empty_line_is_nothing() -> None:
    assembler = Assembler()
    assert assembler.feed("  ") is None
    assert not assembler.open


def test_what_was_begun_can_be_thrown_away() -> None:
    assembler = Assembler()
    assembler.feed('"""a')
    assembler.reset()
    assert assembler.feed("b") == Entry(EntryKind.MESSAGE, "b")
