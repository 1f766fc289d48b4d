from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.framing import LENGTH, MAX_FRAME_BYTES, Frames


@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_frames_come_whole_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(LENGTH.pack(len(body)) + body for body in bodies)
    frames = Frames()
    found: list[bytes] = []
    for cut in [*cuts, len(data)]:
        found += frames.feed(data[:cut])
        data = data[cut:]
    assert found == bodies


def test_a_frame_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        list(Frames().feed(LENGTH.pack(MAX_FRAME_BYTES + 1)))
