"""Answers bound to a JSON Schema, a grammar or a regular expression, by llguidance: a mask over the logits a token.

A grammar that fails, at once or after some tokens, fails its request: nothing goes on unbound.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, grammar_from, regex_to_lark
from llguidance.llamacpp import lltokenizer_from_vocab

from corral.runtime.engine.call_grammar import CallGrammar
from corral.runtime.engine.deferral import Deferral, deferred, symbols
from corral.runtime.engine.llama import Model
from corral.runtime.engine.protocol import Grammar
from corral.runtime.prompt.clock import TimeIsUp, time_limit

Logits = npt.NDArray[np.float32]

COMPILE_SECONDS: Final = 1.0

_SCHEMA_OPTIONS: Final[dict[str, Any]] = {
    # Without a bound a small model goes on with blanks until it reaches the end of its context.
    "whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,24}",
    # What cannot be enforced is told as a warning; Ollama passes over it in silence.
    "lenient": True,
    "coerce_one_of": True,
}
_KEPT: Final = 8
_NOTHING_FITS: Final = "nothing can satisfy it"


class GrammarFailed(Exception):
    """A grammar that doesn't compile, cannot be satisfied or became too complex; `str(error)` is one line."""


class Constraint:
    """Where one answer stands in its grammar. Made on the main thread, belongs to the loop's from then on.

    `warnings` says in words what of a schema is not enforced; `what` is where the schema came from.
    """

    __slots__ = ("_mask", "_matcher", "_num_vocab", "warnings")

    def __init__(self, matcher: LLMatcher, num_vocab: int, what: str = "format") -> None:
        self._matcher = matcher
        self._num_vocab = num_vocab
        self.warnings = tuple(f"{what}: {_line(text)}" for text in matcher.get_grammar_warnings())
        self._mask: bytes | None = self._next_mask()  # found out now if nothing fits, and off the loop

    def allows(self, token: int) -> bool:
        """Say whether a token can come next: a microsecond, where the mask takes a hundred and more.

        Of a text that can only go on in one way the mask has but the tokens the tokenizer would make of it; here every
        spelling will do.
        """
        return bool(self._matcher.validate_tokens([token]))

    def apply(self, logits: Logits) -> None:
        """Rule out, in place, every token that cannot come next. Raises GrammarFailed."""
        mask = self._mask or self._next_mask()
        bits = np.unpackbits(np.frombuffer(mask, np.uint8), count=self._num_vocab, bitorder="little")
        logits[bits == 0] = -np.inf

    def take(self, token: int) -> bool:
        """Note the token that was drawn; True where nothing can follow it. Raises GrammarFailed."""
        self._mask = None
        if not self._matcher.consume_token(token):
            raise GrammarFailed(self._reason())
        return self._matcher.is_stopped()

    def copy(self) -> Constraint:
        """Return another that stands where this one does."""
        return Constraint(self._matcher.deep_copy(), self._num_vocab)

    def begin(self, tokens: list[int]) -> bool:
        """Take what is written already; False, with nothing taken, where an answer cannot begin so."""
        if self._matcher.validate_tokens(tokens) != len(tokens):
            return False
        self._mask = None
        return self._matcher.consume_tokens(tokens)

    def _next_mask(self) -> bytes:
        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise GrammarFailed(self._reason())
        if not any(mask):
            raise GrammarFailed(_NOTHING_FITS)
        return mask

    def _reason(self) -> str:
        if self._matcher.stop_reason() == "NoExtensionBias":
            return _NOTHING_FITS
        return _line(self._matcher.get_error())


class Grammars:
    """Compiles grammars for one model; belongs to the runner's main thread.

    What the vocabulary looks like to llguidance is worked out with the first one: 0.2 seconds for 50,000 tokens.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer: LLTokenizer | None = None
        self._kept: dict[tuple[str, tuple[tuple[str, str], ...]], Constraint] = {}
        self._limits = LLParserLimits(
            initial_lexer_fuel=400_000,
            max_lexer_states=50_000,  # of up to 2 KB each
            verbose_errors=False,
        )

    def compile(self, grammar: Grammar, deferral: Deferral | None = None) -> Constraint:
        """Make ready to bind one answer, with `deferral` what comes after its thoughts. Raises GrammarFailed."""

        def make() -> str:
            whole = _internal(grammar)
            if deferral is None:
                return whole
            return json.dumps({"grammars": deferred(self._model, deferral, _part(grammar, whole))})

        return self._compile(make, "format")

    def compile_calls(self, calls: CallGrammar, deferral: Deferral | None = None) -> Constraint:
        """Make ready to bind one answer to calls of tools, with `deferral` after its thoughts. Raises GrammarFailed."""

        def make() -> str:
            parts = [
                {**json.loads(_internal(Grammar("json_schema", text)))["grammars"][0], "name": name}
                for name, text in calls.schemas.items()
            ]
            main: dict[str, Any] = {"lark_grammar": calls.lark}
            whole = [main] if deferral is None else deferred(self._model, deferral, main)
            return json.dumps({"grammars": [*whole, *parts]})

        return self._compile(make, "tools")

    def compile_lazily(self, calls: CallGrammar) -> Constraint:
        """Make ready to bind calls that an answer may come to make; kept, for a client sends the same tools each time.

        Raises GrammarFailed.
        """
        key = (calls.lark, tuple(calls.schemas.items()))
        if (kept := self._kept.pop(key, None)) is None:
            kept = self.compile_calls(calls)
        self._kept[key] = kept
        while len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))
        return kept.copy()

    def tokens(self, text: str) -> list[int]:
        """Return one way to write a text in tokens, its marks as they are. For after the first grammar."""
        assert self._tokenizer is not None
        found: list[int] = []
        for symbol in symbols(self._model, text):
            is_mark = symbol.startswith("<[")
            found += [int(symbol[2:-2])] if is_mark else self._tokenizer.greedy_tokenize(json.loads(symbol))
        return found

    def _compile(self, make: Callable[[], str], what: str) -> Constraint:
        if self._tokenizer is None:
            ends = self._model.end_tokens()
            self._tokenizer = lltokenizer_from_vocab(self._model.vocab, eos_token=ends or None)
        try:
            with time_limit(COMPILE_SECONDS):
                matcher = LLMatcher(self._tokenizer, make(), log_level=0, limits=self._limits)
                if matcher.is_error():
                    raise GrammarFailed(_line(matcher.get_error()))
                return Constraint(matcher, self._model.num_vocab, what)
        except (ValueError, RecursionError) as error:
            raise GrammarFailed(_line(str(error))) from None
        except TimeIsUp:
            raise GrammarFailed("it takes too long to compile") from None


def _internal(grammar: Grammar) -> str:
    """Return a grammar in llguidance's own form. Raises ValueError."""
    if grammar.kind == "json_schema":
        if not isinstance(json.loads(grammar.text), dict):
            raise ValueError("it is no object")
        return LLMatcher.grammar_from_json_schema(grammar.text, overrides=_SCHEMA_OPTIONS)  # type: ignore[arg-type]
    if grammar.kind == "regex":
        # A digit is 0 to 9 and a word ASCII, as in JSON Schema: models take the others where they may.
        return LLMatcher.grammar_from_regex(regex_to_lark(grammar.text, "dw"))
    return grammar_from("gbnf", grammar.text)  # which knows Lark when it sees it


def _part(grammar: Grammar, internal: str) -> dict[str, Any]:
    """Return a grammar in llguidance's own form as one of a list."""
    if grammar.kind == "grammar":
        return {"lark_grammar": internal}
    part: dict[str, Any] = json.loads(internal)["grammars"][0]
    return part


def _line(text: str) -> str:
    """Return the first line that says something, with where it is; the parser adds the text around it."""
    lines = [line.strip() for line in text.replace("<non-verbose/>", "").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error:")] or lines
    return told[0][:300] if told else "it does not compile"
