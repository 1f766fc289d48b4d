"""Which layers GPUs take, while a model is loaded and after."""

from __future__ import annotations

from msgspec.structs import replace

from corral.runtime.snapshot import ModelState
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.loaded_table import row as loaded_row
from corral.tui.widgets.model_panel import model_lines
from tests.fakes.moment import model


def test_the_layers_that_gpus_take_are_told_as_soon_as_they_are_known() -> None:
    loading = model("a", state=ModelState.LOADING, load_phase="weights", load_fraction=0.41, vram_bytes=0)
    loading = replace(loading, weights_bytes=0, kv_bytes=0, compute_bytes=0)
    unknown, split = (replace(loading, gpu_layers=gpu, num_layers=every) for gpu, every in ((0, 0), (21, 33)))
    for view, wide, narrow in ((unknown, "—", "—"), (split, "GPU 21/33", "G 21/33")):
        for is_wide, told in ((True, wide), (False, narrow)):
            assert loaded_row(view, is_wide=is_wide, glyphs=Glyphs.BLOCK)["where"].plain == told
    assert not any("offload" in line for line in model_lines(unknown, 60, Glyphs.BLOCK))
    assert any("load 41% · offload 21/33" in line for line in model_lines(split, 60, Glyphs.BLOCK))
    whole = model("a", gpu_layers=33, num_layers=33)
    assert loaded_row(whole, is_wide=False, glyphs=Glyphs.BLOCK)["where"].plain == "GPU"


def test_layers_on_the_gpu_and_who_goes_next_stand_in_the_table() -> None:
    view = model("a", vram_bytes=100_000_000, gpu_layers=24, num_layers=33, state=ModelState.IDLE, leaves=1)
    cells = loaded_row(view, is_wide=True, glyphs=Glyphs.BRAILLE)
    assert (cells["where"].plain, cells["state"].plain) == ("GPU 24/33", "○ idle goes next")
    narrow = [replace(view, state=state) for state in (ModelState.IDLE, ModelState.BUSY)]
    told = [loaded_row(one, is_wide=False, glyphs=Glyphs.BRAILLE)["state"].plain for one in narrow]
    assert told == ["○ goes next", "● busy"]
    pinned = loaded_row(replace(view, pinned=True, leaves=0), is_wide=False, glyphs=Glyphs.BRAILLE)
    assert pinned["state"].plain == "○ idle pin"
