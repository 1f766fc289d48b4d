"""Writes a GGUF file tensor by tensor, a few megabytes at a time: memory does not grow with the model."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast

import gguf
import numpy as np
from gguf.gguf_writer import WriterState
from numpy.typing import NDArray

from corral.store.convert.safetensors import StoredTensor
from corral.store.errors import ConversionError

# Small enough that a piece and its casts stay in a processor's cache.
_PIECE_ELEMENTS = 1 << 18
_ALIGNMENT = 32
_LONGEST_NAME = 63  # GGML_MAX_NAME less its end


class FloatType(StrEnum):
    """How matrices are written; vectors are F32 in any case, as llama.cpp wants them."""

    F16 = "F16"
    F32 = "F32"
    BF16 = "BF16"


Rearrange = Callable[[NDArray[Any]], NDArray[Any]]
OnProgress = Callable[[int, int], None]
"""Told bytes written and bytes in all; what it raises ends the conversion."""

_GGML = {
    FloatType.F16: gguf.GGMLQuantizationType.F16,
    FloatType.F32: gguf.GGMLQuantizationType.F32,
    FloatType.BF16: gguf.GGMLQuantizationType.BF16,
}
FILE_TYPES = {
    FloatType.F16: gguf.LlamaFileType.MOSTLY_F16,
    FloatType.F32: gguf.LlamaFileType.ALL_F32,
    FloatType.BF16: gguf.LlamaFileType.MOSTLY_BF16,
}
_WIDTHS = {FloatType.F16: 2, FloatType.F32: 4, FloatType.BF16: 2}


class Sink(Protocol):
    """What takes the bytes of the file, in their order."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take some."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of the file to be: `sources` one behind the other, each put through `rearrange` as a whole.

    `plus` is added to every number. `values` stand for sources where a tensor is computed from the config. `exact`
    ones are written as F32.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[StoredTensor, ...] = ()
    rearrange: Rearrange | None = None
    plus: float = 0.0
    values: NDArray[np.float32] | None = None
    exact: bool = False

    def type_in(self, float_type: FloatType) -> FloatType:
        """How it is written where matrices are `float_type`."""
        return FloatType.F32 if self.exact or len(self.shape) <= 1 else float_type

    def size_in(self, float_type: FloatType) -> int:
        """Its bytes then."""
        return math.prod(self.shape) * _WIDTHS[self.type_in(float_type)]

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Its numbers, flat and in their order."""
        if self.values is not None:
            yield self.values.reshape(-1)
        for source in self.sources:
            if self.rearrange is None:
                parts: Iterator[NDArray[Any]] = source.pieces(_PIECE_ELEMENTS)
            else:
                whole = np.ascontiguousarray(self.rearrange(source.whole())).reshape(-1)
                parts = (whole[at : at + _PIECE_ELEMENTS] for at in range(0, whole.size, _PIECE_ELEMENTS))
            for part in parts:
                numbers = _as_float32(part, source.kind)
                yield numbers + np.float32(self.plus) if self.plus else numbers


def write_gguf(
    writer: gguf.GGUFWriter, weights: Sequence[Weight], sink: Sink, float_type: FloatType, on_progress: OnProgress
) -> int:
    """Write metadata and tensors; returns the bytes of the file.

    Raises:
        ConversionError: a number does not fit `float_type`, or a file became shorter meanwhile.
    """
    for weight in weights:
        if len(weight.name) > _LONGEST_NAME:
            raise ConversionError(f"the tensor name {weight.name} is too long")
        size = weight.size_in(float_type)
        kind = _GGML[weight.type_in(float_type)]
        writer.add_tensor_info(weight.name, weight.shape, np.dtype(np.float32), size, raw_dtype=kind)
    head = _head(writer)
    total = len(head) + sum(_padded(weight.size_in(float_type)) for weight in weights)
    sink.write(head)
    done = len(head)
    on_progress(done, total)
    for weight in weights:
        begun = done
        for piece in weight.pieces():
            data = _encoded(piece, weight.type_in(float_type), weight.name)
            sink.write(data)
            done += len(data)
            on_progress(done, total)
        padding = _padded(done - begun) - (done - begun)
        sink.write(bytes(padding))
        done += padding
    on_progress(done, total)
    return done


def _head(writer: gguf.GGUFWriter) -> bytes:
    """All that stands before the tensors. The writer wants files; one in memory is handed to it as already open."""
    head = io.BytesIO()
    writer.fout = [cast(io.BufferedWriter, head)]
    writer.state = WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    data = head.getvalue()
    return data + bytes(_padded(len(data)) - len(data))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _as_float32(values: NDArray[Any], kind: str) -> NDArray[np.float32]:
    if kind == "BF16":
        wide = values.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return values.astype(np.float32, copy=False)


def _encoded(values: NDArray[np.float32], kind: FloatType, name: str) -> memoryview:
    if kind is FloatType.F32:
        return memoryview(values.astype("<f4", copy=False).view(np.uint8).data)
    if kind is FloatType.BF16:
        quantized = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
        return memoryview(np.ascontiguousarray(quantized).view(np.uint8).data)
    try:
        with np.errstate(over="raise"):
            return memoryview(values.astype("<f2").view(np.uint8).data)
    except FloatingPointError:
        raise ConversionError(f"tensor {name} has numbers too large for F16; convert to BF16 or F32") from None
