"""From a `Rank` to pairs of a query and a document in tokens, and from what was computed of them to scores.

A pair is written as llama.cpp's server writes it (`format_prompt_rerank`), so that scores are the same.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol

from corral.runtime.engine.llama import Model
from corral.runtime.engine.pooler import TOO_LONG, Job, Pooler
from corral.runtime.engine.protocol import FromRunner, Rank, Ranked, Refused

_PLACES = re.compile(r"\{(query|document)\}")


class Pairs(Protocol):
    """Writes documents beside one query."""

    def whole(self, document: str) -> list[int]:
        """Return the tokens of the query with a document. Raises ValueError for what cannot be tokenised."""
        ...

    def cut(self, document: str, length: int) -> list[int] | None:
        """Return them with the document cut to make `length`; None where nothing of it would be left."""
        ...


class MarkedPairs(Pairs):
    """Special tokens before, between and after, as the vocabulary has them."""

    def __init__(self, model: Model, query: str) -> None:
        before, between, self._after = model.pair_marks()
        self._model = model
        self._before = before + model.tokenize(query, begin=False, special=False) + between

    def whole(self, document: str) -> list[int]:
        """See `Pairs`."""
        return self._before + self._tokens(document) + self._after

    def cut(self, document: str, length: int) -> list[int] | None:
        """See `Pairs`."""
        room = length - len(self._before) - len(self._after)
        return self._before + self._tokens(document)[:room] + self._after if room > 0 else None

    def _tokens(self, document: str) -> list[int]:
        return self._model.tokenize(document, begin=False, special=False)


class TemplatePairs(Pairs):
    """The model's own text with places for a query and a document."""

    def __init__(self, model: Model, template: str, query: str) -> None:
        self._model = model
        self._template = template
        self._query = query

    def whole(self, document: str) -> list[int]:
        """See `Pairs`."""
        # In one pass: a query that speaks of {document} is a query.
        text = _PLACES.sub(lambda place: self._query if place[1] == "query" else document, self._template)
        return self._model.tokenize(text, begin=False)

    def cut(self, document: str, length: int) -> list[int] | None:
        """See `Pairs`."""
        # The tokens at the document's borders hold text of both sides, so it is the text that is cut.
        kept = bisect_right(range(len(document) + 1), length, key=lambda end: len(self.whole(document[:end]))) - 1
        return self.whole(document[:kept]) if kept > 0 else None


class _RankJob(Job):
    """The scores that are there already."""

    def __init__(self, request_id: int, pairs: list[list[int]], cut: int) -> None:
        super().__init__(request_id, pairs)
        self._cut = cut
        self._scores: list[float] = []

    def keep(self, values: Sequence[float]) -> None:
        self._scores.append(values[0])

    def answer(self, prompt_tokens: int, prompt_ns: int) -> FromRunner:
        if not all(map(math.isfinite, self._scores)):
            return Refused(self.id, "bad_request", "the scores contain NaN or Inf values")
        return Ranked(self.id, self._scores, prompt_tokens, prompt_ns, self._cut)


class Ranker:
    """Scores documents with one model; belongs to the runner's main thread."""

    def __init__(self, model: Model, pooler: Pooler, send: Callable[[FromRunner], None]) -> None:
        self._model = model
        self._pooler = pooler
        self._send = send
        self._template = model.rank_template()

    def submit(self, message: Rank) -> None:
        """Take a request, or refuse it."""
        if not self._model.ranks:
            self._send(Refused(message.id, "bad_request", "the model does not rank texts"))
            return
        longest = self._pooler.longest(message.num_ctx)
        texts = []
        cut = 0
        try:
            pairs = self._pairs(message.query)
            for document in message.documents:
                tokens = pairs.whole(document) or [self._model.first_token]
                if len(tokens) > longest:
                    short = pairs.cut(document, longest) if message.truncate else None
                    if short is None:
                        why = "the query leaves no room for a document in the context" if message.truncate else TOO_LONG
                        self._send(Refused(message.id, "too_long", why, len(tokens)))
                        return
                    tokens = short
                    cut += 1
                texts.append(tokens)
        except ValueError as error:
            self._send(Refused(message.id, "bad_request", str(error)))
            return
        self._pooler.add(_RankJob(message.id, texts, cut))

    def _pairs(self, query: str) -> Pairs:
        if self._template is not None:
            return TemplatePairs(self._model, self._template, query)
        return MarkedPairs(self._model, query)
