"""GGUF files written by hand, so that every field can be a lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, payload: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + payload


def string_pair(key: str, value: str) -> bytes:
    return pair(key, STRING, text(value))


def u32_pair(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def array_pair(key: str, kind: int, count: int, payload: bytes) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", kind, count) + payload)


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@dataclass(frozen=True)
class Gguf:
    """A whole file; `bytes(gguf)` gives it. Counts default to what is there."""

    pairs: tuple[bytes, ...] = (
        string_pair("general.architecture", "llama"),
        string_pair("general.basename", "tiny"),
        string_pair("general.size_label", "1K"),
        u32_pair("general.file_type", 15),
        u32_pair("llama.context_length", 2048),
        u32_pair("llama.embedding_length", 64),
        u32_pair("llama.block_count", 2),
        string_pair("tokenizer.chat_template", "{{ messages }}"),
        array_pair("tokenizer.ggml.tokens", STRING, 3, text("a") + text("bc") + text("")),
        array_pair("tokenizer.ggml.token_type", I32, 3, struct.pack("<3i", 1, 2, -3)),
    )
    tensors: tuple[bytes, ...] = (
        tensor("token_embd.weight", (256, 4), 12, 0),
        tensor("output_norm.weight", (16,), 0, 576),
    )
    data: bytes = bytes(576 + 64)
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    pair_count: int | None = None
    alignment: int = field(default=32)

    def with_pair(self, *more: bytes) -> Gguf:
        return replace(self, pairs=(*self.pairs, *more))

    @property
    def header(self) -> bytes:
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        pairs = len(self.pairs) if self.pair_count is None else self.pair_count
        start = self.magic + struct.pack("<IQQ", self.version, tensors, pairs)
        head = start + b"".join(self.pairs) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment)

    def __bytes__(self) -> bytes:
        return self.header + self.data
