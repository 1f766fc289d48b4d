"""Messages as bytes on a pipe: msgpack, each behind its length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from corral.runtime.engine.protocol import FromRunner, ToRunner

LENGTH: Final = struct.Struct(">I")
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


def frame(message: ToRunner | FromRunner) -> bytes:
    """Encode a message with its length in front."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


class Frames:
    """Takes frames out of bytes as they come."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies that are whole now. Raises ValueError for one that is too long."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._rest, start)
            if size > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            end = start + LENGTH.size + size
            if end > len(self._rest):
                break
            yield bytes(memoryview(self._rest)[start + LENGTH.size : end])
            start = end
        del self._rest[:start]


to_runner: Final = msgspec.msgpack.Decoder(ToRunner)
from_runner: Final = msgspec.msgpack.Decoder(FromRunner)
