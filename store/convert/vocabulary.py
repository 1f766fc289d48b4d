"""A tokenizer as GGUF has it: tokens by number, their kinds, and how text is cut into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import gguf

from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.errors import ConversionError

_LONGEST_TOKEN = 1 << 16


class TokenKind(IntEnum):
    """What a token is; llama.cpp's `llama_token_attr` in its older form, which GGUF keeps."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that stands outside the tokenizer's own vocabulary; `special` ones never come from a user's text."""

    number: int
    text: str
    special: bool


class TokenTable:
    """Tokens being put in their places: as many as the model has embeddings, what is left open is filled up."""

    def __init__(self, rows: int) -> None:
        self.texts: list[str | None] = [None] * rows
        self.kinds = [TokenKind.UNUSED] * rows
        self.scores = [0.0] * rows
        self.numbers: dict[str, int] = {}

    def put(self, number: int, text: str, kind: TokenKind, score: float = 0.0) -> None:
        """Give a token its place; one behind the last embedding could never be used and is left out.

        Raises:
            ConversionError: it is too long, or its text is another token's.
        """
        if number >= len(self.texts):
            return
        if not text or len(text) > _LONGEST_TOKEN:
            raise ConversionError(f"the tokenizer's token {number} is empty or too long")
        if self.numbers.setdefault(text, number) != number:
            raise ConversionError(f"the tokenizer has the token {text!r} twice: {self.numbers[text]} and {number}")
        before = self.texts[number]
        if before is not None and before != text:
            del self.numbers[before]
        self.texts[number], self.kinds[number], self.scores[number] = text, kind, score

    def put_added(self, token: AddedToken) -> None:
        """Place a token of the list beside the vocabulary."""
        looks_special = (token.text.startswith("<|") and token.text.endswith("|>")) or token.text == "<pad>"
        special = token.special or looks_special
        # Text that is the user's to write stands for itself: SentencePiece's sign for a space is one there.
        text = token.text if special else token.text.replace("▁", " ")
        if any(self.numbers.get(one, token.number) != token.number for one in (token.text, text)):
            return  # a list that renumbers what the vocabulary has: the vocabulary's number is what was trained
        self.put(token.number, text, TokenKind.CONTROL if special else TokenKind.USER_DEFINED, -1000.0)

    def filled(self) -> list[str]:
        """The texts of all places."""
        return [text if text is not None else f"[PAD{number}]" for number, text in enumerate(self.texts)]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer: `model` and `pre` as llama.cpp names it, `numbers` from a token's text to its place."""

    model: str
    tokens: list[str]
    kinds: list[TokenKind]
    numbers: Mapping[str, int]
    pre: str = ""
    scores: list[float] | None = None
    merges: list[str] | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        """Write it into a file's metadata."""
        writer.add_tokenizer_model(self.model)
        if self.pre:
            writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types([int(kind) for kind in self.kinds])
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        for key, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{key}", value)


def added_tokens(checkpoint: Checkpoint) -> Iterator[AddedToken]:
    """The tokens that `tokenizer.json`, `added_tokens.json` and `tokenizer_config.json` add to a vocabulary.

    Raises:
        ConversionError: one of them says what cannot be.
    """
    tokenizer = checkpoint.json("tokenizer.json")
    if tokenizer is not None:
        for entry in tokenizer.items("added_tokens"):
            token = Config(entry if isinstance(entry, dict) else {}, "tokenizer.json: added_tokens")
            yield AddedToken(token.number("id"), token.text("content"), token.flag("special"))
        return
    settings = checkpoint.json("tokenizer_config.json")
    decoder = settings.section("added_tokens_decoder") if settings is not None else Config({}, "")
    listed = {number for number in decoder.values if number.isdecimal() and len(number) < 10}
    for number in sorted(listed, key=int):
        token = decoder.section(number)
        yield AddedToken(int(number), token.text("content"), token.flag("special"))
    more = checkpoint.json("added_tokens.json")
    for text in more.values if more is not None else ():
        if more is not None and str(place := more.number(text)) not in listed:
            yield AddedToken(place, text, False)
