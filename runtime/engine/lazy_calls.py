"""Answers that may call tools: free until a call begins, from there on bound to the functions and their schemas.

As llama.cpp's lazy grammars. What nothing could be bound to stays free: the parser reads it as it comes.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from corral.runtime.engine.grammar import Constraint, GrammarFailed, Logits
from corral.runtime.prompt.parsers.trigger import CallTrigger


class LazyCalls:
    """Where one answer stands. Made on the main thread, belongs to the loop's from then on."""

    __slots__ = ("_bound", "_calls", "_decoder", "_piece", "_tokens", "_trigger", "warnings")

    def __init__(
        self,
        trigger: CallTrigger,
        calls: Constraint,
        piece: Callable[[int], bytes],
        tokens: Callable[[str], list[int]],
    ) -> None:
        """`piece` spells a token, `tokens` says one way to write a text in them."""
        self._trigger = trigger
        self._calls = calls
        self._piece = piece
        self._tokens = tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._bound = False
        self.warnings: tuple[str, ...] = ()

    def allows(self, token: int) -> bool:
        """Say whether a token can come next: any, where no call has begun."""
        return not self._bound or self._calls.allows(token)

    def apply(self, logits: Logits) -> None:
        """Rule out, in place, what cannot follow in a call that has begun."""
        if not self._bound:
            return
        try:
            self._calls.apply(logits)
        except GrammarFailed:
            self._bound = False

    def take(self, token: int) -> bool:
        """Note the token that was drawn; True where it ends the last call. Raises GrammarFailed."""
        if self._bound:
            return self._calls.take(token)
        if not self._trigger.off:
            begun = self._trigger.push(self._decoder.decode(self._piece(token)))
            self._bound = begun is not None and self._calls.begin(self._tokens(begun))
        return False
