"""What `show` says of a model's header (spec a.12)."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from corral.runtime.library import SHOWN_ARRAY, model_info
from corral.store.gguf import read_header


@pytest.mark.parametrize(("verbose", "long"), [(False, []), (True, list(range(6)))])
def test_short_arrays_are_shown_and_long_ones_on_demand(tmp_path: Path, verbose: bool, long: list[int]) -> None:
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("five", [1, 2, 3, 4, 5])
    writer.add_array("words", ["a", "b"])
    writer.add_array("six", list(range(6)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    info = model_info(read_header(path, arrays=verbose, short_arrays=SHOWN_ARRAY))
    assert info["five"] == [1, 2, 3, 4, 5]
    assert info["words"] == ["a", "b"]
    assert info["six"] == long
