"""Reads safetensors files that may come from anybody.

A security border like `store.gguf`: every number of the header is checked against the file and a cap before anything
is read or allocated. The format: 8 bytes of header length, a JSON object of tensors, their bytes without a gap.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corral.store.errors import NotSafetensors

_LONGEST_HEADER = 100_000_000  # what the format's own library takes
_LONGEST_NAME = 512
_MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 8
_LARGEST_COUNT = 2**62
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_WIDTHS |= {"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
# BF16 is no type of numpy's: its bits are the upper half of a float32's.
_READ_AS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}

FLOAT_KINDS = frozenset(_READ_AS)
"""The types of weights that can be read as numbers."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor: `kind` as in `BF16`, `shape` with the slowest dimension first; `offset` and `size` in bytes."""

    path: Path
    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int

    def whole(self) -> NDArray[Any]:
        """All of it, in its shape; a BF16 tensor as the bits of its numbers.

        Raises:
            NotSafetensors: the file has become shorter, or cannot be read.
        """
        (values,) = self.pieces(max(1, math.prod(self.shape)))
        return values.reshape(self.shape)

    def pieces(self, most: int) -> Iterator[NDArray[Any]]:
        """Its numbers in their order, flat, at most `most` of them at a time.

        Raises:
            NotSafetensors: as `whole`.
        """
        form = np.dtype(_READ_AS[self.kind])
        count = math.prod(self.shape)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                for start in range(0, count, most):
                    values = np.empty(min(most, count - start), form)
                    _fill(file.fileno(), values.view(np.uint8).data, self.path.name)
                    yield values
        except OSError as error:
            raise NotSafetensors(f"cannot read {self.path.name}: {error.strerror}") from error


def read_tensors(path: Path, shown: str) -> tuple[StoredTensor, ...]:
    """Read a file's header; only that is read. `shown` is what messages call the file.

    Raises:
        NotSafetensors: the file is none, is cut off, or its header says what cannot be.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for its writer for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise NotSafetensors(f"{shown} is not a regular file")
            header, data_offset = _header(handle, info.st_size, shown)
            return _placed(path, shown, header, data_offset, info.st_size)
        finally:
            os.close(handle)
    except OSError as error:
        raise NotSafetensors(f"cannot read {shown}: {error.strerror}") from error


def _header(handle: int, size: int, shown: str) -> tuple[dict[str, object], int]:
    if size < 10:
        raise NotSafetensors(f"{shown} is not a safetensors file: it is too short")
    head = bytearray(8)
    _fill(handle, memoryview(head), shown)
    if head == b"version ":
        raise NotSafetensors(f"{shown} is a pointer of Git LFS; fetch the file it stands for")
    (length,) = struct.unpack("<Q", head)
    if length > size - 8:
        raise NotSafetensors(f"{shown} is cut off, or not a safetensors file")
    if length > _LONGEST_HEADER:
        raise NotSafetensors(f"{shown} is not a safetensors file: a header of {length} bytes")
    text = bytearray(length)
    _fill(handle, memoryview(text), shown)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise NotSafetensors(f"{shown} is not a safetensors file: its header is no JSON") from None
    if not isinstance(header, dict) or len(header) > _MOST_TENSORS:
        raise NotSafetensors(f"{shown} is not a safetensors file: its header lists no tensors, or too many")
    return header, 8 + length


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made


def _placed(
    path: Path, shown: str, header: dict[str, object], data_offset: int, file_size: int
) -> tuple[StoredTensor, ...]:
    tensors = []
    for name, about in header.items():
        if name != "__metadata__":
            tensors.append(_tensor(path, shown, name, about, data_offset))
    end = data_offset
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != end:
            raise NotSafetensors(f"{shown} is not a safetensors file: tensors overlap or leave gaps")
        end += tensor.size
    if end > file_size:
        raise NotSafetensors(f"{shown} is cut off: it is shorter than its tensors")
    return tuple(tensors)


def _tensor(path: Path, shown: str, name: str, about: object, data_offset: int) -> StoredTensor:
    def wrong(what: str) -> NotSafetensors:
        return NotSafetensors(f"{shown} is not a safetensors file: {what} of a tensor is wrong")

    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise wrong("the name")
    if not isinstance(about, dict):
        raise wrong("the description")
    kind, shape, offsets = about.get("dtype"), about.get("shape"), about.get("data_offsets")
    if not isinstance(kind, str) or (width := _WIDTHS.get(kind)) is None:
        raise NotSafetensors(f"{shown}: tensor {name} is of an unknown type")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS or not all(_is_count(one) for one in shape):
        raise wrong("the shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_count(one) for one in offsets):
        raise wrong("the place")
    elements = math.prod(shape)
    begin, end = offsets
    if elements > _LARGEST_COUNT or end - begin != elements * width:
        raise wrong("the size")
    return StoredTensor(path, name, kind, tuple(shape), data_offset + begin, end - begin)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT


def _fill(handle: int, target: memoryview, shown: str) -> None:
    at = 0
    with open(handle, "rb", buffering=0, closefd=False) as file:
        while at < len(target):
            count = file.readinto(target[at:])
            if not count:
                raise NotSafetensors(f"{shown} is cut off: it became shorter while it was read")
            at += count
