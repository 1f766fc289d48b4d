"""Rows that say the same as before cost nothing; the others are drawn, and no more than they."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows, Lines
from corral.tui.widgets.graph import HistoryGraph
from tests.fakes.screen import picture, until


class Words(DrawnRows):
    """A word a row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"words--loud"}
    DEFAULT_CSS = "Words { height: 4; } Words .words--loud { text-style: bold; }"

    def __init__(self) -> None:
        super().__init__()
        self.words: tuple[str, ...] = ("one", "two", "three")

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        return [((word[:width], "words--loud" if word.isupper() else ""),) for word in self.words[:height]]


class Shown(App[None]):
    CSS = "Lines { height: 2; } HistoryGraph { height: 6; }"

    def compose(self) -> ComposeResult:
        yield Words()
        yield Lines()
        yield HistoryGraph(unit="%")


def _noted(widget: DrawnRows, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Region, ...]]:
    asked: list[tuple[Region, ...]] = []
    refresh = type(widget).refresh

    def noted(*regions: Region, **how: bool) -> DrawnRows:
        asked.append(regions)
        return refresh(widget, *regions, **how)

    monkeypatch.setattr(widget, "refresh", noted)
    return asked


async def test_only_rows_that_say_something_else_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Shown()
    async with app.run_test(size=(40, 40)) as pilot:
        words = app.query_one(Words)
        await until(pilot, lambda: "three" in picture(app))
        asked = _noted(words, monkeypatch)
        words.draw_rows()
        assert asked == []
        words.words = ("one", "TWO")
        words.draw_rows()
        assert asked == [(Region(0, 1, 40, 1), Region(0, 2, 40, 1))]
        await until(pilot, lambda: "TWO" in picture(app) and "three" not in picture(app))
        assert "one" in picture(app)
        styles = [segment.style for segment in words.render_line(1) if segment.text == "TWO"]
        assert [style is not None and style.bold for style in styles] == [True]


async def test_another_size_is_drawn_whole() -> None:
    app = Shown()
    async with app.run_test(size=(40, 40)) as pilot:
        await until(pilot, lambda: "three" in picture(app))
        await pilot.resize_terminal(4, 40)
        await until(pilot, lambda: "thre" in picture(app) and "three" not in picture(app))


async def test_lines_are_cut_with_a_sign_and_cleaned() -> None:
    app = Shown()
    async with app.run_test(size=(10, 40)) as pilot:
        lines = app.query_one(Lines)
        lines.show("short", "too long for this", "left out")
        await until(pilot, lambda: "too long…" in picture(app))
        lines.show("a\x1b[31mb")
        await until(pilot, lambda: "short" not in picture(app))
        assert "\x1b" not in picture(app)
        assert "left out" not in picture(app)


async def test_a_graph_of_what_rests_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Shown()
    async with app.run_test(size=(40, 40)) as pilot:
        graph = app.query_one(HistoryGraph)
        graph.show([0.0] * 100)
        await until(pilot, lambda: "peak 0 %" in picture(app))
        asked = _noted(graph, monkeypatch)
        graph.show([0.0] * 101)
        assert asked == []
        graph.show_newest(lambda most: [3.0] * most)
        (rows,) = asked
        assert 0 < len(rows) < graph.size.height
