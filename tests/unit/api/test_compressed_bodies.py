"""Bodies with a Content-Encoding (spec b.1): unpacked on every route, within the bounds of any body."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from aiohttp.compression_utils import HAS_ZSTD

from corral.api.body import MAX_BYTES
from tests.fakes.served import MODEL, Served

NATIVE, OPENAI, ANTHROPIC = "/api/chat", "/v1/chat/completions", "/v1/messages"
BODY = json.dumps(
    {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": False, "max_tokens": 9}
).encode()
GARBLED = "failed to decompress request body"


def zstd_frame(data: bytes) -> bytes:
    """`data` as zstd writes it where nothing is to be saved: one raw block (RFC 8878)."""
    header = (0xFD2FB528).to_bytes(4, "little") + bytes([0b1010_0000]) + len(data).to_bytes(4, "little")
    return header + (len(data) << 3 | 1).to_bytes(3, "little") + data


def zstd_bomb(blocks: int) -> bytes:
    """A frame of blocks that say one byte 128 KiB times each."""
    block = ((128 * 1024) << 3 | 0b010).to_bytes(3, "little") + b" "
    last = (1 << 3 | 0b011).to_bytes(3, "little") + b" "
    return (0xFD2FB528).to_bytes(4, "little") + bytes([0, 0x38]) + block * blocks + last


def test_zstd_is_there() -> None:
    assert HAS_ZSTD


@pytest.mark.parametrize("path", [NATIVE, OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("zstd", zstd_frame(BODY)), ("identity", BODY)],
)
def test_bodies_are_unpacked(served: Served, path: str, encoding: str, packed: bytes) -> None:
    reply = served.post(path, packed, **{"Content-Encoding": encoding})
    assert reply.status_code == 200, reply.text
    assert "t0 t1 t2" in reply.text


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_what_cannot_be_unpacked_is_told_in_the_wires_own_form(served: Served, encoding: str) -> None:
    replies = [served.post(path, BODY, **{"Content-Encoding": encoding}) for path in (NATIVE, OPENAI, ANTHROPIC)]
    assert [reply.status_code for reply in replies] == [400, 400, 400]
    native, openai, anthropic = (reply.json() for reply in replies)
    assert native == {"error": GARBLED}
    assert openai["error"]["message"] == anthropic["error"]["message"] == GARBLED


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b" " * (MAX_BYTES + 1))), ("zstd", zstd_bomb(MAX_BYTES // (128 * 1024)))],
)
def test_a_bomb_is_too_large(served: Served, encoding: str, packed: bytes) -> None:
    reply = served.post(NATIVE, packed, **{"Content-Encoding": encoding})
    assert (reply.status_code, reply.json()) == (413, {"error": "request body too large"})
