"""SentencePiece tokenizers from `tokenizer.model`, or from the `tokenizer.json` that was made of one.

`tokenizer.model` is a protocol buffer (sentencepiece_model.proto); the four fields that matter are read by hand.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from corral.store.convert.bpe import merges_of
from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.vocabulary import TokenKind, TokenTable, Vocabulary, added_tokens
from corral.store.errors import ConversionError

_BROKEN = "tokenizer.model is not a SentencePiece model"
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_BPE = 2
_NO_MERGE = -1e6  # a piece that nothing is merged into: never chosen over one that is


def sentencepiece_vocabulary(checkpoint: Checkpoint, data: bytes, rows: int) -> Vocabulary:
    """Read `tokenizer.model` for a model of `rows` embeddings, with the tokens that were added to it.

    Raises:
        ConversionError: it is none, or of another kind than BPE.
    """
    table = TokenTable(rows)
    number = 0
    prefixes = True
    for field, value in _fields(data):
        if field == _PIECE and isinstance(value, bytes):
            text, score, kind = _piece(value)
            table.put(number, text, kind, score)
            number += 1
        elif field == _TRAINER and isinstance(value, bytes):
            if dict(_fields(value)).get(3, 1) != _BPE:
                raise ConversionError("tokenizer.model is of a kind that is not supported: only BPE is")
        elif field == _NORMALIZER and isinstance(value, bytes):
            prefixes = dict(_fields(value)).get(3, 1) != 0
    if not number:
        raise ConversionError(_BROKEN)
    return _with_added(checkpoint, table, prefixes)


def vocabulary_from_merges(checkpoint: Checkpoint, tokenizer: Config, rows: int) -> Vocabulary:
    """Read a `tokenizer.json` that was made of a SentencePiece BPE model.

    Its merges stand in the order of the pieces' scores, so the first that makes a piece tells its rank.

    Raises:
        ConversionError: it is of another kind.
    """
    model = tokenizer.section("model")
    if model.text("type") not in ("BPE", "") or not model.flag("byte_fallback"):
        raise ConversionError(f"a {model.text('type') or 'nameless'} tokenizer of this kind is not supported")
    table = TokenTable(rows)
    ranks: dict[str, int] = {}
    for left, right in merges_of(model):
        ranks.setdefault(left + right, len(ranks))
    vocab = model.section("vocab")
    for text in vocab.values:
        kind = TokenKind.BYTE if _is_byte(text) else TokenKind.NORMAL
        if text == model.text("unk_token"):
            kind = TokenKind.UNKNOWN
        score = -float(ranks[text]) if text in ranks else _NO_MERGE
        table.put(vocab.number(text), text, kind, score)
    return _with_added(checkpoint, table, _prefixes_space(tokenizer))


def _with_added(checkpoint: Checkpoint, table: TokenTable, prefixes: bool) -> Vocabulary:
    for token in added_tokens(checkpoint):
        number = table.numbers.get(token.text)
        if number is None or table.kinds[number] not in (TokenKind.UNKNOWN, TokenKind.BYTE):
            table.put_added(token)
    return Vocabulary(
        "llama",
        table.filled(),
        table.kinds,
        table.numbers,
        pre="default",
        scores=table.scores,
        flags={"add_space_prefix": prefixes},
    )


def _prefixes_space(tokenizer: Config) -> bool:
    normalizer = tokenizer.section("normalizer")
    steps = [normalizer, *(Config(one, "") for one in normalizer.items("normalizers") if isinstance(one, dict))]
    if any(step.text("type") == "Prepend" for step in steps):
        return True
    before = tokenizer.section("pre_tokenizer")
    if before.text("type") != "Metaspace":
        return False
    return before.text("prepend_scheme") in ("always", "first") or before.flag("add_prefix_space")


def _is_byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def _piece(data: bytes) -> tuple[str, float, TokenKind]:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1, b""), fields.get(2, 0.0), fields.get(3, int(TokenKind.NORMAL))
    if not isinstance(text, bytes) or not isinstance(score, float) or not math.isfinite(score):
        raise ConversionError(_BROKEN)
    if not isinstance(kind, int):
        raise ConversionError(_BROKEN)
    try:
        return text.decode("utf-8"), score, TokenKind(kind)
    except ValueError:
        raise ConversionError(_BROKEN) from None


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message: number and value, a float where it is 32 bits wide.

    Raises:
        ConversionError: it is cut off, or has what no message has.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 2:
                length, at = _varint(data, at)
                yield key >> 3, _cut(data, at, length)
                at += length
            case 5:
                (number,) = struct.unpack("<f", _cut(data, at, 4))
                yield key >> 3, float(number)
                at += 4
            case 1:
                yield key >> 3, _cut(data, at, 8)
                at += 8
            case _:
                raise ConversionError(_BROKEN)


def _cut(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise ConversionError(f"{_BROKEN}: it is cut off")
    return data[at : at + length]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ConversionError(f"{_BROKEN}: it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ConversionError(_BROKEN)
