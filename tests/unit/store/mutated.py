"""Headers of GGUF files with a few lies in each."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

from corral.store.errors import NotGguf
from corral.store.gguf import read_header
from tests.unit.store.handmade import F32, STRING, Gguf, array_pair, pair, string_pair, tensor, text

_NUMBERS = (0, 1, 2, 12, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_FIELDS = [b"\0", b"\xff", b"GGUF", *(struct.pack("<Q", one) for one in _NUMBERS)]
_FIELDS += [struct.pack("<I", one) for one in _NUMBERS if one < 2**32]
_FILES = (
    Gguf(),
    Gguf(version=2),
    Gguf(alignment=64).with_pair(pair("general.alignment", 4, struct.pack("<I", 64))),
    Gguf().with_pair(array_pair("floats", F32, 300, bytes(1200)), string_pair("long", "x" * 3000)),
    Gguf().with_pair(array_pair("words", STRING, 200, b"".join(text(str(one)) for one in range(200)))),
    Gguf(tensors=tuple(tensor(f"blk.{one}", (16,), 0, one * 64) for one in range(30)), data=bytes(64 * 30)),
)


def _overwrite(dice: random.Random, data: bytearray, header: int) -> None:
    at, value = dice.randrange(header), dice.choice(_FIELDS)
    data[at : at + len(value)] = value


def _flip(dice: random.Random, data: bytearray, header: int) -> None:
    data[dice.randrange(header)] ^= 1 << dice.randrange(8)


def _cut(dice: random.Random, data: bytearray, header: int) -> None:
    del data[dice.randrange(header) :]


def _take_out(dice: random.Random, data: bytearray, header: int) -> None:
    at = dice.randrange(header)
    del data[at : at + dice.randint(1, 40)]


def _double(dice: random.Random, data: bytearray, header: int) -> None:
    at = dice.randrange(header)
    data[at:at] = data[at : at + dice.randint(1, 200)]


_LIES: tuple[Callable[[random.Random, bytearray, int], None], ...] = (_overwrite, _flip, _cut, _take_out, _double)


def read_mutated(path: Path, count: int, dice: random.Random) -> int:
    """Read so many of them: each is refused or makes sense. Returns how many made sense."""
    made_sense = 0
    for _ in range(count):
        whole = dice.choice(_FILES)
        data = bytearray(bytes(whole))
        for _ in range(dice.randint(1, 3)):
            if data:
                dice.choices(_LIES, (6, 4, 1, 1, 1))[0](dice, data, min(len(data), len(whole.header)))
        path.write_bytes(data)
        try:
            header = read_header(path, arrays=dice.random() < 0.5)
        except NotGguf:
            continue
        made_sense += 1
        assert all(one.offset + one.size <= header.file_size for one in header.tensors)
        assert isinstance(header.quantization + header.parameter_size + header.chat_template, str)
        assert header.context_length + header.block_count + header.embedding_length >= 0
    assert 0 < made_sense < count
    return made_sense
