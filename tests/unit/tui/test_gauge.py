from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from corral.tui.widgets.core_bars import core_lines
from corral.tui.widgets.gauge import Gauge
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.stacked_bar import Part, StackedBar, shares


class GaugeApp(App[None]):
    CSS = "Gauge { width: 40; } StackedBar { width: 40; height: 5; }"

    def compose(self) -> ComposeResult:
        yield Gauge("RAM")
        yield StackedBar()


async def test_gauge_without_a_figure_says_so_and_not_nothing() -> None:
    app = GaugeApp()
    async with app.run_test(size=(50, 10)):
        gauge = app.query_one(Gauge)
        gauge.show(None)
        text = gauge.render_line(0).text
        assert "n/a" in text
        assert "0" not in text
        assert "█" not in text


async def test_gauge_shows_bar_and_figures_in_its_width() -> None:
    app = GaugeApp()
    async with app.run_test(size=(50, 10)):
        gauge = app.query_one(Gauge)
        gauge.show(0.5, "62.5/125G  50 %")
        text = gauge.render_line(0).text
        assert text.startswith("RAM ██")
        assert text.endswith("62.5/125G  50 %")
        assert cell_len(text) == 40
        gauge.show(0.5, "界" * 40)
        assert cell_len(gauge.render_line(0).text) == 40


@pytest.mark.parametrize("amounts", [(1, 1, 1), (0, 0, 5), (10**12, 1, 3), (7, 11, 13)])
def test_shares_add_up(amounts: tuple[int, ...]) -> None:
    assert sum(shares(amounts, 37)) == 37


async def test_stacked_bar_names_every_part() -> None:
    app = GaugeApp()
    async with app.run_test(size=(50, 10)):
        stacked = app.query_one(StackedBar)
        assert stacked.render_line(0).text.strip() == "n/a"
        stacked.show([Part("weights", 5 * 10**9), Part("KV", 3 * 10**9, "38 % used"), Part("free", 8 * 10**9)])
        lines = [stacked.render_line(y).text for y in range(5)]
    assert cell_len(lines[0]) == 40
    assert "weights    5.0G" in lines[1]
    assert "38 % used" in lines[2]
    assert "free" in lines[3]


async def test_a_part_that_is_alone_in_its_line_is_written_as_the_others() -> None:
    app = GaugeApp()
    async with app.run_test(size=(50, 10)):
        stacked = app.query_one(StackedBar)
        parts = [Part(name, 10**9, "mapped") for name in ("weights", "KV", "compute", "other", "free")]
        stacked.show(parts)
        legend = [stacked.render_line(y).text.rstrip() for y in range(1, 5)]
    assert [line for line in legend if line.endswith(" free 1.0G")]
    assert "mapped" not in "".join(legend)


def test_cores_fit_or_are_counted() -> None:
    assert core_lines([100, 0], 30, 1, Glyphs.BLOCK) == ["0████ 1░░░░"]
    many = core_lines([50.0] * 64, 20, 2, Glyphs.BLOCK)
    assert [len(line) for line in many] == [20, 20]
    assert many[1].endswith("+29  ")
    assert core_lines([], 30, 1, Glyphs.BLOCK) == []
    assert core_lines([5.0], 0, 0, Glyphs.BLOCK) == []
