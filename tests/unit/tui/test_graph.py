from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from corral.tui.widgets.glyphs import Glyphs, automatic_glyphs, bar
from corral.tui.widgets.graph import HistoryGraph, ceiling, plot


def test_plot_is_scaled_to_the_maximum_and_not_to_the_samples() -> None:
    low = plot([2.0] * 20, width=10, height=4, maximum=100, glyphs=Glyphs.BRAILLE)
    full = plot([100.0] * 20, width=10, height=4, maximum=100, glyphs=Glyphs.BRAILLE)
    assert low[:3] == [" " * 10] * 3
    assert low[3] == "⣀" * 10
    assert full == ["⣿" * 10] * 4


def test_plot_puts_the_newest_sample_at_the_right_and_leaves_gaps() -> None:
    rows = plot([None, 100.0], width=3, height=1, maximum=100, glyphs=Glyphs.BRAILLE)
    assert rows == ["  ⢸"]
    assert plot([50, None, 100], width=4, height=1, maximum=100, glyphs=Glyphs.BLOCK) == [" ▄ █"]
    assert plot([50, 100], width=2, height=2, maximum=100, glyphs=Glyphs.ASCII) == [" #", "##"]


@pytest.mark.parametrize("glyphs", list(Glyphs))
@pytest.mark.parametrize("size", [(1, 1), (0, 0), (7, 3), (500, 1)])
def test_plot_fills_exactly_its_room(glyphs: Glyphs, size: tuple[int, int]) -> None:
    width, height = size
    rows = plot([0, 12.5, 250, -3, None], width=width, height=height, maximum=100, glyphs=glyphs)
    assert len(rows) == (height if width else 0)
    assert {cell_len(row) for row in rows} <= {width}


def test_ascii_glyphs_are_ascii() -> None:
    rows = plot([0, 30, 60, 90], width=4, height=3, maximum=100, glyphs=Glyphs.ASCII)
    assert "".join(rows).isascii()
    assert bar(0.5, 10, Glyphs.ASCII).isascii()


def test_automatic_glyphs() -> None:
    assert automatic_glyphs("utf-8", "xterm-256color") is Glyphs.BRAILLE
    assert automatic_glyphs("UTF8", "linux") is Glyphs.BLOCK
    assert automatic_glyphs("ANSI_X3.4-1968", "xterm") is Glyphs.ASCII
    assert automatic_glyphs(None, "") is Glyphs.ASCII
    assert Glyphs.ASCII.following is Glyphs.BRAILLE


def test_ceiling_moves_in_round_steps() -> None:
    assert [ceiling(peak) for peak in (0, 9, 11, 61, 212, 1000)] == [10, 10, 20, 100, 500, 1000]


def test_bar_shows_something_for_anything() -> None:
    assert bar(0.0, 4, Glyphs.BLOCK) == "░░░░"
    assert bar(0.001, 4, Glyphs.BLOCK) == "█░░░"
    assert bar(3.0, 4, Glyphs.BLOCK) == "████"


class GraphApp(App[None]):
    CSS = "HistoryGraph { width: 50; height: 5; }"

    def __init__(self, maximum: float | None) -> None:
        super().__init__()
        self.graph = HistoryGraph(unit="%", maximum=maximum)

    def compose(self) -> ComposeResult:
        yield self.graph


async def test_graph_says_scale_unit_newest_and_peak() -> None:
    app = GraphApp(100.0)
    async with app.run_test(size=(60, 10)):
        app.graph.show([10.0, 96.0, 34.0])
        lines = [app.graph.render_line(y).text for y in range(5)]
    assert lines[0].startswith("100▏")
    assert lines[3].startswith("  0▏")
    assert "92 s" in lines[4]
    assert lines[4].endswith("now 34 %  peak 96 %")
    assert {cell_len(line) for line in lines} == {50}


async def test_graph_without_samples_is_not_zero() -> None:
    app = GraphApp(100.0)
    async with app.run_test(size=(60, 10)):
        assert "now n/a" in app.graph.render_line(4).text
        app.graph.show([None, None])
        assert "now n/a  peak n/a" in app.graph.render_line(4).text


async def test_every_graph_row_has_one_style_besides_its_axis() -> None:
    app = GraphApp(None)
    async with app.run_test(size=(60, 10)):
        app.graph.show([float(n) for n in range(200)])
        strips = [app.graph.render_line(y) for y in range(4)]
        assert all(len(list(strip)) == 2 for strip in strips)
        assert strips[0].text.startswith("200▏")
