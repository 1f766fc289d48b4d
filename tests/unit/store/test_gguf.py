from __future__ import annotations

import contextlib
import os
import random
import resource
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from gguf.constants import GGML_QUANT_SIZES, LlamaFileType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.store.errors import NotGguf
from corral.store.gguf import GgufArray, GgufHeader, read_header
from corral.store.gguf_types import FILE_TYPES, TENSOR_TYPES
from tests.unit.store.handmade import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I64,
    STRING,
    U8,
    U64,
    Gguf,
    array_pair,
    pair,
    string_pair,
    tensor,
    text,
    u32_pair,
)
from tests.unit.store.mutated import read_mutated


def read(path: Path, data: bytes | Gguf, *, arrays: bool = False) -> GgufHeader:
    path.write_bytes(bytes(data))
    return read_header(path, arrays=arrays)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.gguf"


def test_a_header_says_what_the_model_is(file: Path) -> None:
    header = read(file, Gguf())
    assert (header.version, header.architecture, header.kind) == (3, "llama", "model")
    assert (header.quantization, header.parameter_count, header.parameter_size) == ("Q4_K_M", 1040, "1K")
    assert (header.context_length, header.embedding_length, header.block_count) == (2048, 64, 2)
    assert header.chat_template == "{{ messages }}"
    assert [(t.name, t.type, t.shape, t.size) for t in header.tensors] == [
        ("token_embd.weight", "Q4_K", (256, 4), 576),
        ("output_norm.weight", "F32", (16,), 64),
    ]
    assert header.tensors[0].offset == header.data_offset == len(Gguf().header)


def test_arrays_keep_their_count_and_their_values_only_when_asked(file: Path) -> None:
    assert read(file, Gguf()).metadata["tokenizer.ggml.tokens"] == GgufArray("string", 3)
    header = read(file, Gguf(), arrays=True)
    assert header.metadata["tokenizer.ggml.tokens"] == GgufArray("string", 3, ("a", "bc", ""))
    assert header.metadata["tokenizer.ggml.token_type"] == GgufArray("int32", 3, (1, 2, -3))


def test_every_scalar_is_read(file: Path) -> None:
    more = (
        pair("x.u8", U8, b"\xff"),
        pair("x.f32", F32, struct.pack("<f", 0.5)),
        pair("x.bool", BOOL, b"\x02"),
        pair("x.i64", I64, struct.pack("<q", -(2**62))),
        pair("x.f64", F64, struct.pack("<d", 1e300)),
    )
    metadata = read(file, Gguf().with_pair(*more)).metadata
    assert [metadata[key] for key in ("x.u8", "x.f32", "x.bool", "x.i64", "x.f64")] == [255, 0.5, True, -(2**62), 1e300]


def test_version_2_and_a_long_vocabulary_over_many_chunks(file: Path) -> None:
    tokens = [os.urandom(7).hex() for _ in range(150_000)] + ["x" * 2_000_000]
    payload = b"".join(map(text, tokens))
    gguf = replace(Gguf(), version=2).with_pair(array_pair("x.tokens", STRING, len(tokens), payload))
    assert read(file, gguf).metadata["x.tokens"] == GgufArray("string", len(tokens))
    kept = read(file, gguf, arrays=True).metadata["x.tokens"]
    assert isinstance(kept, GgufArray)
    assert kept.values == tuple(tokens)


def test_odd_values_of_known_keys_are_no_accident(file: Path) -> None:
    odd = Gguf(
        pairs=(
            string_pair("general.architecture", "llama"),
            string_pair("llama.block_count", "many"),
            pair("llama.context_length", I64, struct.pack("<q", -1)),
            array_pair("llama.embedding_length", U8, 1, b"\1"),
            pair("general.file_type", BOOL, b"\1"),
        )
    )
    header = read(file, odd)
    assert (header.block_count, header.context_length, header.embedding_length) == (0, 0, 0)


def test_without_a_file_type_the_heaviest_tensor_type_counts(file: Path) -> None:
    bare = replace(Gguf(), pairs=(string_pair("general.architecture", "llama"),))
    assert read(file, bare).quantization == "Q4_K"
    assert read(file, replace(bare, tensors=(), data=b"")).quantization == "unknown"


def test_tables_agree_with_the_reference() -> None:
    ours = {number: (block, size) for number, (_, block, size) in TENSOR_TYPES.items()}
    # Its table counts Q8_1 with 32 bit sums, which ggml no longer has.
    theirs = {kind.value: sizes for kind, sizes in GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    assert {number: ours[number] for number in theirs if number in ours} == {
        n: s for n, s in theirs.items() if n in ours
    }
    names = {t.value: t.name.removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_MOE") for t in LlamaFileType}
    assert {n: names[n] for n in FILE_TYPES if n in names} == {n: f for n, f in FILE_TYPES.items() if n in names}


HUGE = 2**64 - 1
BAD: dict[str, Gguf | bytes] = {
    "empty": b"",
    "magic only": b"GGUF",
    "magic and version": b"GGUF\3\0\0\0",
    "other magic": Gguf(magic=b"GGML"),
    "version 0": Gguf(version=0),
    "version 1": Gguf(version=1),
    "future version": Gguf(version=4),
    "big endian": Gguf(version=3 << 24),
    "no architecture": Gguf(pairs=()),
    "architecture of a wrong type": Gguf(pairs=(u32_pair("general.architecture", 1),)),
    "huge number of pairs": Gguf(pair_count=HUGE),
    "more pairs than there are": Gguf(pair_count=12),
    "huge number of tensors": Gguf(tensor_count=HUGE),
    "more tensors than there are": Gguf(tensor_count=30),
    "key of huge size": Gguf(pairs=(struct.pack("<Q", 2**63),)),
    "empty key": Gguf().with_pair(u32_pair("", 1)),
    "key twice": Gguf().with_pair(u32_pair("general.file_type", 1)),
    "type of no value": Gguf().with_pair(pair("x", 13, b"\0" * 8)),
    "string beyond the end": Gguf().with_pair(pair("x", STRING, struct.pack("<Q", 2**63))),
    "array of arrays": Gguf().with_pair(array_pair("x", ARRAY, 1, b"\0" * 32)),
    "array of a type that is none": Gguf().with_pair(array_pair("x", 99, 1, b"\0" * 32)),
    "array of 2^40": Gguf().with_pair(array_pair("x", U64, 2**40, b"\0" * 32)),
    "array of 2^61 of 8 bytes": Gguf().with_pair(array_pair("x", U64, 2**61, b"\0" * 32)),
    "array of 2^40 strings": Gguf().with_pair(array_pair("x", STRING, 2**40, b"\0" * 32)),
    "string in an array beyond the end": Gguf().with_pair(array_pair("x", STRING, 1, struct.pack("<Q", HUGE))),
    "alignment 0": Gguf().with_pair(u32_pair("general.alignment", 0)),
    "alignment 3": Gguf().with_pair(u32_pair("general.alignment", 3)),
    "alignment 2^31": Gguf().with_pair(u32_pair("general.alignment", 2**31)),
    "alignment of a wrong type": Gguf().with_pair(string_pair("general.alignment", "32")),
    "alignment true": Gguf().with_pair(pair("general.alignment", BOOL, b"\1")),
    "five dimensions": Gguf(tensors=(tensor("a", (1, 1, 1, 1, 1), 0, 0),)),
    "2^32-1 dimensions": Gguf(tensors=(text("a") + struct.pack("<I", 2**32 - 1) + bytes(64),)),
    "dimension of 2^64-1": Gguf(tensors=(tensor("a", (HUGE,), 0, 0),)),
    "product of dimensions too large": Gguf(tensors=(tensor("a", (2**32, 2**32), 0, 0),)),
    "bytes too large": Gguf(tensors=(tensor("a", (2**62,), 0, 0),)),
    "huge dimension beside a 0": Gguf(tensors=(tensor("a", (0, HUGE), 0, 0),)),
    "tensor type that is none": Gguf(tensors=(tensor("a", (4,), 5, 0),)),
    "rows of no whole blocks": Gguf(tensors=(tensor("a", (100,), 12, 0),)),
    "tensor behind the end": Gguf(tensors=(tensor("a", (4,), 0, 2**40),)),
    "offset that wraps around": Gguf(tensors=(tensor("a", (4,), 0, 2**64 - 32),)),
    "offset not aligned": Gguf(tensors=(tensor("a", (4,), 0, 4),)),
    "tensors that overlap": Gguf(tensors=(tensor("a", (16,), 0, 0), tensor("b", (16,), 0, 32))),
    "tensor twice": Gguf(tensors=(tensor("a", (4,), 0, 0), tensor("a", (4,), 0, 32))),
    "tensor name too long": Gguf(tensors=(tensor("a" * 64, (4,), 0, 0),)),
    "data cut off": Gguf(data=bytes(600)),
}


@pytest.mark.parametrize("why", BAD)
@pytest.mark.parametrize("arrays", [False, True])
def test_a_lying_header_is_refused(file: Path, why: str, arrays: bool) -> None:
    with pytest.raises(NotGguf):
        read(file, BAD[why], arrays=arrays)


def test_every_truncation_is_refused(file: Path) -> None:
    whole = bytes(Gguf())
    for length in range(len(whole)):
        with pytest.raises(NotGguf):
            read(file, whole[:length])


def test_declared_lengths_allocate_nothing(file: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for why, bad in BAD.items():
        with pytest.raises(NotGguf):
            read(file, bad, arrays=True)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 64 << 10, why


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "absent"):
        with pytest.raises(NotGguf):
            read_header(path)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_any_bytes_put_anywhere_are_read_or_refused(file: Path, junk: bytes, at: int, arrays: bool) -> None:
    whole = bytes(Gguf())
    with contextlib.suppress(NotGguf):
        read(file, whole[:at] + junk + whole[at + len(junk) :], arrays=arrays)


def test_mutated_headers_are_read_or_refused(file: Path) -> None:
    read_mutated(file, 4000, random.Random(7))
