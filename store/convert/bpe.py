"""Byte-level BPE tokenizers (GPT-2's kind) from `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.vocabulary import TokenKind, TokenTable, Vocabulary, added_tokens
from corral.store.errors import ConversionError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# How text is cut before the merges, from what tokenizer.json says to the name llama.cpp has for it (llama-vocab.cpp,
# `tokenizer.ggml.pre`). A step is a pattern, or "digits", or "bytes" for ByteLevel's own pattern, GPT-2's.
_KNOWN: Mapping[tuple[str, ...], str] = {
    ("bytes",): "gpt-2",
    (_GPT2,): "gpt-2",
    ("digits", "bytes"): "smollm",
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_TAIL}",): "llama-bpe",
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|{_TAIL}",): "qwen2",
    (
        rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}",
    ): "gpt-4o",
    (rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}",): "tekken",
}


def is_byte_level(tokenizer: Config) -> bool:
    """Whether a `tokenizer.json` is of this kind."""
    if tokenizer.section("model").text("type") not in ("BPE", ""):
        return False
    parts = [tokenizer.section("decoder"), *_steps(tokenizer.section("pre_tokenizer"))]
    parts += _steps(tokenizer.section("decoder"))
    return any(part.text("type") == "ByteLevel" for part in parts)


def byte_level_vocabulary(checkpoint: Checkpoint, tokenizer: Config, rows: int) -> Vocabulary:
    """Read a tokenizer for a model of `rows` embeddings.

    Raises:
        ConversionError: it is broken, or cuts text in a way llama.cpp has no name for.
    """
    model = tokenizer.section("model")
    table = TokenTable(rows)
    vocab = model.section("vocab")
    for text in vocab.values:
        table.put(vocab.number(text), text, TokenKind.NORMAL)
    if not vocab.values:
        raise ConversionError("tokenizer.json has no vocabulary")
    for token in added_tokens(checkpoint):
        table.put_added(token)
    return Vocabulary(
        "gpt2",
        table.filled(),
        table.kinds,
        table.numbers,
        pre=pre_tokenizer(tokenizer),
        merges=[f"{left} {right}" for left, right in merges_of(model)],
        flags={"add_space_prefix": True} if _prefixes_space(tokenizer) else {},
    )


def merges_of(model: Config) -> Iterator[tuple[str, str]]:
    """The pairs a BPE model joins, best first; both forms, "a b" and ["a", "b"], are in use.

    Raises:
        ConversionError: an entry is no pair.
    """
    for entry in model.items("merges"):
        parts = entry.split(" ") if isinstance(entry, str) else entry
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(one, str) and one for one in parts):
            raise ConversionError("tokenizer.json has a merge that is no pair")
        yield parts[0], parts[1]


def pre_tokenizer(tokenizer: Config) -> str:
    """llama.cpp's name for how a tokenizer cuts text before its merges.

    Raises:
        ConversionError: it has none. A guess would make a model that answers, but badly.
    """
    steps = tuple(_cuts(tokenizer))
    name = _KNOWN.get(steps)
    if name is None:
        shown = " then ".join(steps)[:120] or "nothing"
        raise ConversionError(f"the tokenizer cuts text in a way that is not supported: {shown}")
    # The same pattern is Llama 3's, which takes a whole word before it merges, and that of GPT-4's kin, which does not.
    if name == "llama-bpe" and not tokenizer.section("model").flag("ignore_merges"):
        return "dbrx"
    return name


def _cuts(tokenizer: Config) -> Iterator[str]:
    for step in _steps(tokenizer.section("pre_tokenizer")):
        match step.text("type"):
            case "Split":
                yield step.section("pattern").text("Regex", "String")
            case "Digits":
                yield "digits" if step.flag("individual_digits") else "digit groups"
            case "ByteLevel":
                if step.flag("use_regex", True):
                    yield "bytes"
            case other:
                yield other or "an unnamed step"


def _prefixes_space(tokenizer: Config) -> bool:
    steps = _steps(tokenizer.section("pre_tokenizer"))
    return any(step.text("type") == "ByteLevel" and step.flag("add_prefix_space") for step in steps)


def _steps(outer: Config) -> list[Config]:
    """A step, or those of a sequence."""
    if outer.text("type") == "Sequence":
        inner = outer.items("pretokenizers") or outer.items("decoders")
        return [Config(one, outer.shown) for one in inner if isinstance(one, dict)]
    return [outer] if outer.values else []
