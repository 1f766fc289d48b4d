"""A model in memory where there is little room for what is told of it."""

from __future__ import annotations

import pytest

from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.loaded_table import row as loaded_row
from corral.tui.widgets.model_panel import model_lines
from tests.fakes.moment import model


@pytest.mark.parametrize("vram", [0, 100_000_000])
def test_where_a_model_lies_is_told_to_the_end_in_little_room(vram: int) -> None:
    full = model("full:1b", vram_bytes=vram, rss_history=tuple(range(60)))
    [narrow], [wide] = (
        [one for one in model_lines(full, width, Glyphs.BRAILLE) if one.startswith("lies in")] for width in (56, 90)
    )
    assert narrow.endswith("CPU 180 %")
    assert len(narrow) <= 56
    assert ("VRAM" in wide) == ("VRAM" in narrow) == bool(vram)


def test_hours_in_memory_leave_a_gap_before_them() -> None:
    shown = loaded_row(model("full:1b", expires_in_s=8 * 3600 + 24 * 60 + 41.0), is_wide=False, glyphs=Glyphs.BRAILLE)
    assert str(shown["until"]) == "8h24"
