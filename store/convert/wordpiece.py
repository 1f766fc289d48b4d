"""WordPiece tokenizers (BERT's kind) from `tokenizer.json` or `vocab.txt`."""

from __future__ import annotations

from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.vocabulary import TokenKind, TokenTable, Vocabulary, added_tokens
from corral.store.errors import ConversionError


def wordpiece_vocabulary(checkpoint: Checkpoint, rows: int) -> Vocabulary:
    """Read a tokenizer for a model of `rows` embeddings.

    Raises:
        ConversionError: there is none, or it is broken.
    """
    tokenizer = checkpoint.json("tokenizer.json")
    words = _words(checkpoint, tokenizer)
    specials = {token.text for token in added_tokens(checkpoint) if token.special}
    table = TokenTable(rows)
    numbers: dict[str, int] = {}
    for word, number in words.items():
        special = word in specials or (word.startswith("[") and word.endswith("]"))
        table.put(number, word if special else _phantom_space(word), TokenKind.CONTROL if special else TokenKind.NORMAL)
        numbers[word] = number
    return Vocabulary("bert", table.filled(), table.kinds, numbers, flags=_normalizer(checkpoint, tokenizer))


def _words(checkpoint: Checkpoint, tokenizer: Config | None) -> dict[str, int]:
    if tokenizer is not None:
        model = tokenizer.section("model")
        if model.text("type") not in ("WordPiece", ""):
            raise ConversionError(f"a {model.text('type')} tokenizer is not supported for this architecture")
        vocab = model.section("vocab")
        if vocab.values:
            return {word: vocab.number(word) for word in vocab.values}
    text = checkpoint.text("vocab.txt")
    if not text:
        raise ConversionError("tokenizer.json is missing: a model is converted from its whole folder")
    return {word: number for number, word in enumerate(text.rstrip("\n").split("\n"))}


def _phantom_space(word: str) -> str:
    """GGUF marks what begins a word where WordPiece marks what goes on."""
    return word.removeprefix("##") if word.startswith("##") and word != "##" else "▁" + word


def _normalizer(checkpoint: Checkpoint, tokenizer: Config | None) -> dict[str, bool]:
    """Whether text is made small and bare of accents first; said only where it is not llama.cpp's way."""
    settings = checkpoint.json("tokenizer_config.json")
    lowers = settings.flag("do_lower_case", True) if settings is not None else True
    if tokenizer is not None:
        lowers = tokenizer.section("normalizer").flag("lowercase", lowers)
    return {} if lowers else {"normalizer.lowercase": False, "normalizer.strip_accents": False}
