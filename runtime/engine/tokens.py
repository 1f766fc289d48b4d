"""Prompts to tokens and back, for who only wants to count or to cut: nothing is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from corral.runtime.engine.llama import Model
from corral.runtime.engine.prepare import Preparer
from corral.runtime.engine.protocol import ChatPrompt, Detokenize, Detokenized, FromRunner, Refused, Tokenize, Tokenized

MOST_TOKENS: Final = 2**21
MOST_BYTES: Final = 2**24
"""Bounds of one answer: it must fit into a message."""


class Tokenizer:
    """Answers `Tokenize` and `Detokenize`; belongs to the runner's main thread."""

    def __init__(self, model: Model, send: Callable[[FromRunner], None], preparer: Preparer | None = None) -> None:
        """`preparer` renders chats; a model that only embeds or ranks has none."""
        self._model = model
        self._send = send
        self._preparer = preparer

    def submit(self, message: Tokenize | Detokenize) -> None:
        """Answer at once."""
        self._send(self._tokens(message) if isinstance(message, Tokenize) else self._text(message))

    def _tokens(self, message: Tokenize) -> Tokenized | Refused:
        if isinstance(message.prompt, ChatPrompt):
            if self._preparer is None:
                return Refused(message.id, "bad_request", "the model does not generate text")
            tokens = self._preparer.tokens_of(message.id, message.prompt)
            if isinstance(tokens, Refused):
                return tokens
        else:
            try:
                tokens = self._model.tokenize(message.prompt.text, begin=message.begin)
            except ValueError as error:
                return Refused(message.id, "bad_request", str(error))
        if len(tokens) > MOST_TOKENS:
            return Refused(message.id, "bad_request", f"the text has more than {MOST_TOKENS} tokens")
        return Tokenized(message.id, tokens)

    def _text(self, message: Detokenize) -> Detokenized | Refused:
        data = bytearray()
        for token in message.tokens:
            if not self._model.is_token(token):
                return Refused(message.id, "bad_request", f"{token} is no token of this model")
            data += self._model.piece(token)
            if len(data) > MOST_BYTES:
                return Refused(message.id, "bad_request", f"the text is longer than {MOST_BYTES} bytes")
        return Detokenized(message.id, data.decode(errors="replace"))
