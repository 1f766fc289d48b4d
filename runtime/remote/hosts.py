"""Servers that run models for us: how well each is, how quick, how busy with our requests, and which is asked next."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from corral.runtime.verbs import (
    ChatRequest,
    Chunk,
    Detokenized,
    DetokenizeRequest,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    Ranking,
    RerankRequest,
    TokenizeRequest,
    Tokens,
)

TURNS = 2
"""So many checks in a row must say otherwise before a server counts as well, or as not."""
_NEWEST = 0.3


class Connection(Protocol):
    """A server as it is spoken to. Every verb raises RunError; nothing follows a redirect."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors."""
        ...

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents."""
        ...

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return the tokens of a text or of a conversation; RemoteFailed with 501 where it has no route for that."""
        ...

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return the text of tokens; RemoteFailed with 501 where it has no route for that."""
        ...

    async def check(self) -> None:
        """Raise RunError where the server cannot take requests."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Host:
    """A server. `in_flight` counts our requests on it, running or waiting there; `latency_s` is how soon it answers."""

    def __init__(self, url: str, connection: Connection) -> None:
        self.url = url
        self.connection = connection
        self.in_flight = 0
        self.latency_s = 0.0
        self.healthy = True
        self.used_at = 0.0
        self.reason = ""
        self._against = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count a request."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def answered(self, latency_s: float | None = None) -> bool:
        """Note that it did as it should; True where it counts as well from now on and did not before."""
        if latency_s is not None:
            self.latency_s += (latency_s - self.latency_s) * (_NEWEST if self.latency_s else 1.0)
        return self._note(True)

    def failed(self, reason: str) -> bool:
        """Note that it did not; True where it counts as ill from now on and did not before."""
        self.reason = reason
        return self._note(False)

    def _note(self, well: bool) -> bool:
        self._against = 0 if well is self.healthy else self._against + 1
        if self._against < TURNS:
            return False
        self.healthy, self._against = well, 0
        return True


def choose(hosts: Sequence[Host], tried: Collection[Host]) -> Host | None:
    """Return the server to ask: of those not tried one that is well, then the least busy, then the quickest."""
    left = [host for host in hosts if host not in tried]
    return min(left, key=lambda host: (not host.healthy, host.in_flight, host.latency_s), default=None)
