"""Reads the header of a GGUF file that may come from anybody.

A security border: every length is checked against the file and a cap before anything is read or allocated, arrays are
walked but not kept unless asked for, and whatever is wrong becomes `NotGguf`. Reads in chunks, not through mmap, where
a file that shrinks meanwhile would kill the process.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from corral.store.counts import human_count
from corral.store.errors import NotGguf
from corral.store.gguf_types import (
    ARRAY,
    FILE_TYPE_GUESSED,
    FILE_TYPES,
    SCALARS,
    STRING,
    TENSOR_TYPES,
    VALUE_NAMES,
)

_MAGIC = b"GGUF"
_CHUNK_BYTES = 1 << 20
_LONGEST_STRING = 16 << 20
_LONGEST_KEY = 65535
_LONGEST_TENSOR_NAME = 63  # GGML_MAX_NAME less its end
_MOST_ELEMENTS = 64 << 20
_MOST_STRINGS = 8 << 20
_MOST_VALUES = 65536
_MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 4
_LARGEST_ALIGNMENT = 1 << 20
_LARGEST_COUNT = 2**63 - 1
# The least a metadata value and a tensor take: key length, a letter, type, a byte; name length, a letter, counts.
_LEAST_VALUE_BYTES = 8 + 1 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array of the metadata: element type (`string`, `int32`, ...), count, and the values if they were asked for."""

    type: str
    count: int
    values: tuple[GgufScalar, ...] | None = None


GgufScalar = int | float | bool | str
GgufValue = GgufScalar | GgufArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor: `type` as in `Q4_K`, `shape` with the fastest dimension first, `offset` in the file, both in bytes."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself. A property whose key is missing or of a wrong type is empty or 0."""

    version: int
    metadata: Mapping[str, GgufValue]
    tensors: tuple[GgufTensor, ...]
    alignment: int
    data_offset: int
    file_size: int

    def text(self, key: str) -> str:
        """A string of the metadata."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """A whole number of the metadata that isn't negative."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    @property
    def architecture(self) -> str:
        """The family, as in `llama`."""
        return self.text("general.architecture")

    @property
    def kind(self) -> str:
        """`model`, `adapter`, `mmproj`, ...; `model` where nothing is said."""
        return self.text("general.type") or "model"

    @property
    def parameter_count(self) -> int:
        """How many weights the tensors hold."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def parameter_size(self) -> str:
        """The count of weights as Ollama shows it (`134.52M`, `8.0B`)."""
        return human_count(self.parameter_count)

    @property
    def quantization(self) -> str:
        """The quantization level (`Q4_K_M`); the type of most bytes where the file names none Ollama knows."""
        known = FILE_TYPES.get(self.number("general.file_type") & ~FILE_TYPE_GUESSED)
        if known is not None and "general.file_type" in self.metadata:
            return known
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.size
        return max(sizes, key=lambda kind: sizes[kind]) if sizes else "unknown"

    @property
    def context_length(self) -> int:
        """Tokens the model was trained for."""
        return self.number(f"{self.architecture}.context_length")

    @property
    def embedding_length(self) -> int:
        """Width of the model."""
        return self.number(f"{self.architecture}.embedding_length")

    @property
    def block_count(self) -> int:
        """Layers of the model."""
        return self.number(f"{self.architecture}.block_count")

    @property
    def chat_template(self) -> str:
        """The Jinja template the model was made for."""
        return self.text("tokenizer.chat_template")

    @property
    def name(self) -> str:
        """What its makers call it."""
        return self.text("general.name")

    @property
    def license(self) -> str:
        """The licence's short name."""
        return self.text("general.license")


def read_header(path: Path, *, arrays: bool = False, short_arrays: int = 0) -> GgufHeader:
    """Read the header of a GGUF file, versions 2 and 3, little endian.

    Args:
        path: the file; only its beginning is read.
        arrays: keep the values of arrays (vocabulary, merges), not just their count.
        short_arrays: keep those of so many elements at most in any case.

    Raises:
        NotGguf: the file is none, is cut off, or its header says what cannot be.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise NotGguf("not a GGUF file: not a regular file")
            return _read(_Cursor(file, info.st_size), _MOST_ELEMENTS if arrays else short_arrays)
    except OSError as error:
        raise NotGguf(f"cannot read the file: {error.strerror}") from error


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe waits for its writer for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Cursor:
    """A place in a file that is read forward in chunks; never behind the end, never more than asked for and a chunk."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._buffer = b""
        self._at = 0
        self._start = 0  # where in the file the buffer begins

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def left(self) -> int:
        return self.size - self.position

    def _fill(self, count: int) -> None:
        """Have `count` bytes in the buffer behind `_at`."""
        if count > self.left:
            raise NotGguf("not a GGUF file: it is cut off")
        self._buffer = self._buffer[self._at :]
        self._start += self._at
        self._at = 0
        pieces = [self._buffer]
        have = len(self._buffer)
        while have < count:
            piece = self._file.read(max(_CHUNK_BYTES, count - have))
            if not piece:
                raise NotGguf("not a GGUF file: it is cut off")
            pieces.append(piece)
            have += len(piece)
        self._buffer = b"".join(pieces)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._buffer):
            self._fill(count)
        begin = self._at
        self._at += count
        return self._buffer[begin : self._at]

    def skip(self, count: int) -> None:
        if count > self.left:
            raise NotGguf("not a GGUF file: it is cut off")
        if self._at + count <= len(self._buffer):
            self._at += count
            return
        self._start = self.position + count
        self._buffer, self._at = b"", 0
        self._file.seek(self._start)

    def u32(self) -> int:
        value: int = _U32.unpack(self.take(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack(self.take(8))[0]
        return value

    def string(self, longest: int = _LONGEST_STRING) -> str:
        length = self.u64()
        if length > longest:
            raise NotGguf(f"not a GGUF file: a string of {length} bytes")
        return self.take(length).decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        """Walk over strings: the one loop that runs once a token of the vocabulary, so it keeps to local names."""
        unpack = _U64.unpack_from
        buffer, at = self._buffer, self._at
        for _ in range(count):
            if at + 8 > len(buffer):
                self._at = at
                self._fill(8)
                buffer, at = self._buffer, self._at
            length: int = unpack(buffer, at)[0]
            at += 8
            if at + length > len(buffer):
                if length > _LONGEST_STRING:
                    raise NotGguf(f"not a GGUF file: a string of {length} bytes")
                self._at = at
                self.skip(length)
                buffer, at = self._buffer, self._at
            else:
                at += length
        self._at = at


def _read(cursor: _Cursor, kept: int) -> GgufHeader:
    if cursor.size < 24 or cursor.take(4) != _MAGIC:
        raise NotGguf("not a GGUF file")
    version = cursor.u32()
    if version not in (2, 3):
        if version in (2 << 24, 3 << 24):
            raise NotGguf("this GGUF file is big-endian, which is not supported")
        raise NotGguf(f"GGUF version {version} is not supported")
    tensor_count = cursor.u64()
    value_count = cursor.u64()
    if value_count > min(_MOST_VALUES, cursor.left // _LEAST_VALUE_BYTES):
        raise NotGguf(f"not a GGUF file: {value_count} metadata values")
    metadata: dict[str, GgufValue] = {}
    for _ in range(value_count):
        key = cursor.string(_LONGEST_KEY)
        if not key or key in metadata:
            raise NotGguf("not a GGUF file: a metadata key is empty or there twice")
        metadata[key] = _value(cursor, kept)
    architecture = metadata.get("general.architecture")
    if (not isinstance(architecture, str) or not architecture) and not _belongs_to_another(metadata):
        raise NotGguf("this GGUF file names no architecture, so it holds no model")
    if tensor_count > min(_MOST_TENSORS, cursor.left // _LEAST_TENSOR_BYTES):
        raise NotGguf(f"not a GGUF file: {tensor_count} tensors")
    infos = [_tensor_info(cursor) for _ in range(tensor_count)]
    alignment = _alignment(metadata)
    data_offset = -(-cursor.position // alignment) * alignment
    tensors = _place(infos, alignment, data_offset, cursor.size)
    return GgufHeader(version, MappingProxyType(metadata), tensors, alignment, data_offset, cursor.size)


def _belongs_to_another(metadata: Mapping[str, GgufValue]) -> bool:
    """Whether a file need not name an architecture: a later part of a split model, or an importance matrix."""
    return metadata.get("split.no", 0) not in (0, False) or metadata.get("general.type") == "imatrix"


def _value(cursor: _Cursor, kept: int) -> GgufValue:
    kind = cursor.u32()
    if kind == STRING:
        return cursor.string()
    if kind == ARRAY:
        return _array(cursor, kept)
    return _scalars(cursor, kind, 1)[0]


def _scalars(cursor: _Cursor, kind: int, count: int) -> tuple[GgufScalar, ...]:
    form = _scalar_format(kind)
    # A repeated format is read in one go; `bool` takes any byte that is not 0 for true, as ggml does.
    return struct.unpack(f"<{count}{form}", cursor.take(count * struct.calcsize(form)))


def _scalar_format(kind: int) -> str:
    form = SCALARS.get(kind)
    if form is None:
        raise NotGguf(f"not a GGUF file: a value of type {kind}")
    return form


def _array(cursor: _Cursor, kept: int) -> GgufArray:
    kind = cursor.u32()
    count = cursor.u64()
    if kind == STRING:
        if count > min(_MOST_STRINGS, cursor.left // 8):
            raise NotGguf(f"not a GGUF file: an array of {count} strings")
        if count <= kept:
            return GgufArray("string", count, tuple(cursor.string() for _ in range(count)))
        cursor.skip_strings(count)
        return GgufArray("string", count)
    width = struct.calcsize(f"<{_scalar_format(kind)}")
    if count > min(_MOST_ELEMENTS, cursor.left // width):
        raise NotGguf(f"not a GGUF file: an array of {count} values")
    if count <= kept:
        return GgufArray(VALUE_NAMES[kind], count, _scalars(cursor, kind, count))
    cursor.skip(count * width)
    return GgufArray(VALUE_NAMES[kind], count)


def _alignment(metadata: Mapping[str, GgufValue]) -> int:
    value = metadata.get("general.alignment", 32)
    if isinstance(value, bool) or not isinstance(value, int):
        raise NotGguf("not a GGUF file: its alignment is no number")
    if not 0 < value <= _LARGEST_ALIGNMENT or value & (value - 1):
        raise NotGguf(f"not a GGUF file: an alignment of {value}")
    return value


def _tensor_info(cursor: _Cursor) -> GgufTensor:
    """A tensor with its offset still counted from the beginning of the data."""
    name = cursor.string(_LONGEST_TENSOR_NAME)
    dimensions = cursor.u32()
    if dimensions > _MOST_DIMENSIONS:
        raise NotGguf(f"not a GGUF file: a tensor of {dimensions} dimensions")
    shape = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions))
    known = TENSOR_TYPES.get(number := cursor.u32())
    if known is None:
        raise NotGguf(f"not a GGUF file: a tensor of type {number}")
    kind, block_elements, block_bytes = known
    elements = math.prod(shape)
    size = elements // block_elements * block_bytes
    if elements > _LARGEST_COUNT or size > _LARGEST_COUNT or max(shape, default=0) > _LARGEST_COUNT:
        raise NotGguf("not a GGUF file: a tensor larger than anything")
    if (shape[0] if shape else 1) % block_elements:
        raise NotGguf(f"not a GGUF file: a tensor whose rows are no whole blocks of {kind}")
    return GgufTensor(name, kind, shape, cursor.u64(), size)


def _place(infos: list[GgufTensor], alignment: int, data_offset: int, file_size: int) -> tuple[GgufTensor, ...]:
    """Check that all tensors lie in the file, each in a place of its own, and count offsets from its beginning."""
    if len({info.name for info in infos}) != len(infos):
        raise NotGguf("not a GGUF file: a tensor is there twice")
    end = 0
    for info in sorted(infos, key=lambda info: (info.offset, info.size)):
        if info.offset % alignment or info.offset < end:
            raise NotGguf("not a GGUF file: tensors overlap or are not aligned")
        end = info.offset + info.size
        if data_offset + end > file_size:
            raise NotGguf("this GGUF file is cut off: it is shorter than its tensors")
    return tuple(GgufTensor(info.name, info.type, info.shape, data_offset + info.offset, info.size) for info in infos)
