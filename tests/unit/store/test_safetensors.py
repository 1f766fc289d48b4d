"""The border: whatever a safetensors file says, it is read or refused, never more."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.store.convert.safetensors import read_tensors
from corral.store.errors import NotSafetensors
from tests.checkpoints import write_safetensors

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def written(path: Path, header: object, data: bytes = bytes(8), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_tensors_come_as_they_were_written(tmp_path: Path, kind: str) -> None:
    values = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    path = write_safetensors(tmp_path / "a", {"one": values, "two": values[0]}, kind)
    one, two = read_tensors(path, "a")
    assert (one.name, one.kind, one.shape, two.shape) == ("one", kind, (3, 4), (4,))
    whole = one.whole()
    if kind == "BF16":
        whole = (whole.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(whole.astype(np.float32), values)
    assert [len(piece) for piece in one.pieces(5)] == [5, 5, 2]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "no JSON"),
        (b"[1]", "lists no tensors"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": 1, "a": 2}', "no JSON"),
        ({"a": 1}, "the description"),
        ({"": GOOD["a"]}, "the name"),
        ({"a\n": GOOD["a"]}, "the name"),
        ({"a": {**GOOD["a"], "dtype": "F7"}}, "unknown type"),
        ({"a": {**GOOD["a"], "dtype": []}}, "unknown type"),
        ({"a": {**GOOD["a"], "shape": [-2]}}, "the shape"),
        ({"a": {**GOOD["a"], "shape": [True, 2]}}, "the shape"),
        ({"a": {**GOOD["a"], "shape": [1] * 9}}, "the shape"),
        ({"a": {**GOOD["a"], "shape": [2**40, 2**40]}}, "the size"),
        ({"a": {**GOOD["a"], "shape": [3]}}, "the size"),
        ({"a": {**GOOD["a"], "data_offsets": [0]}}, "the place"),
        ({"a": {**GOOD["a"], "data_offsets": [-8, 0]}}, "the place"),
        ({"a": {**GOOD["a"], "data_offsets": [4, 12]}}, "overlap or leave gaps"),
        ({"a": GOOD["a"], "b": GOOD["a"]}, "overlap or leave gaps"),
        ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, "cut off"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: object, message: str) -> None:
    with pytest.raises(NotSafetensors, match=message):
        read_tensors(written(tmp_path / "a", header), "a")


def test_a_length_beyond_the_file_and_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotSafetensors, match="cut off"):
        read_tensors(written(tmp_path / "a", GOOD, length=2**63), "a")
    (tmp_path / "b").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(NotSafetensors, match="pointer of Git LFS"):
        read_tensors(tmp_path / "b", "b")
    (tmp_path / "c").write_bytes(b"short")
    with pytest.raises(NotSafetensors, match="too short"):
        read_tensors(tmp_path / "c", "c")
    with pytest.raises(NotSafetensors, match="cannot read d: No such file"):
        read_tensors(tmp_path / "d", "d")
    with pytest.raises(NotSafetensors, match="not a regular file"):
        read_tensors(Path("/dev/zero"), "zero")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a", {"one": np.ones(1000, np.float32)})
    (one,) = read_tensors(path, "a")
    with path.open("r+b") as file:
        file.truncate(one.offset + 8)
    with pytest.raises(NotSafetensors, match="became shorter"):
        one.whole()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    for content in (data, struct.pack("<Q", len(data)) + data):
        path.write_bytes(content)
        try:
            tensors = read_tensors(path, "a")
        except NotSafetensors:
            continue
        assert all(tensor.offset + tensor.size <= len(content) for tensor in tensors)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.fixed_dictionaries({"dtype": st.sampled_from(["F32", "BF16", "X"]) | JSON, "shape": JSON}).flatmap(
            lambda made: JSON.map(lambda place: {**made, "data_offsets": place})
        )
        | JSON,
        max_size=3,
    )
)
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, header: dict[str, object]) -> None:
    path = written(tmp_path_factory.mktemp("any") / "a", header)
    try:
        tensors = read_tensors(path, "a")
    except NotSafetensors:
        return
    assert sum(tensor.size for tensor in tensors) <= 8
