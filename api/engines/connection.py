"""The way to a server elsewhere, in Ollama's API where it is one or another Corral, else in OpenAI's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from corral.api import wire
from corral.api.client import HttpClient
from corral.api.engines.openai import OpenAiClient
from corral.api.engines.transport import EngineTransport
from corral.api.version import FORWARDED
from corral.runtime.errors import RemoteFailed
from corral.runtime.remote.allowed import key_of
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


class Connections:
    """Makes the ways to servers; each is sent its own key and no other's."""

    def __init__(self, keys: Sequence[tuple[str, str]] = ()) -> None:
        self._keys = keys

    def __call__(self, url: str) -> ServerConnection:
        """Return the way to a server."""
        return ServerConnection(url, key_of(self._keys, url))


class ServerConnection:
    """Implements `runtime.remote.hosts.Connection`. Which API the server speaks is found out before the first request,
    and again after it failed: another program may have taken its place."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self._server = EngineTransport(url, api_key, headers={FORWARDED: "1"})
        self._native = HttpClient(url, server=self._server)
        self._openai = OpenAiClient(self._server)
        self._found: HttpClient | OpenAiClient | None = None
        self._health = "/health"

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation."""
        return self._answer(lambda client: client.chat(request))

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt."""
        return self._answer(lambda client: client.generate(request))

    def _answer(
        self, ask: Callable[[HttpClient | OpenAiClient], AsyncGenerator[Chunk, None]]
    ) -> AsyncGenerator[Chunk, None]:
        # Each generator that a token passes through costs it something, so none is made where nothing is to be done.
        return self._found_out(ask) if self._found is None else ask(self._found)

    async def _found_out(
        self, ask: Callable[[HttpClient | OpenAiClient], AsyncGenerator[Chunk, None]]
    ) -> AsyncGenerator[Chunk, None]:
        async with aclosing(ask(await self._client())) as chunks:
            async for chunk in chunks:
                yield chunk

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors."""
        return await (await self._client()).embed(request)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents."""
        return await (await self._client()).rerank(request)

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return the tokens of a text or of a conversation."""
        client = await self._client()
        with _known_there("the tokens of a text"):
            return await client.tokenize(request)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return the text of tokens."""
        client = await self._client()
        with _known_there("the text of tokens"):
            return await client.detokenize(request)

    async def check(self) -> None:
        """Ask how the server is. Raises RunError where it cannot take requests."""
        try:
            if isinstance(await self._client(), HttpClient):
                await self._server.send("GET", "/api/version")
                return
            if await self._server.send("GET", self._health, expected=_ANSWERS) in _NO_ROUTE:
                self._health = "/v1/models"
                await self._server.send("GET", self._health, expected=_ANSWERS)
        except BaseException:
            self._found = None
            raise

    async def _client(self) -> HttpClient | OpenAiClient:
        if self._found is None:
            try:
                version = (await self._server.call("GET", "/api/version", wire.VersionWire)).version
            except RemoteFailed as error:
                if error.status >= 500 and error.status not in _UNKNOWN:
                    raise
                version = ""
            self._found = self._native if version else self._openai
        return self._found

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()


@contextmanager
def _known_there(what: str) -> Iterator[None]:
    """Say clearly that a server has no route for what it was asked."""
    try:
        yield
    except RemoteFailed as error:
        if error.status not in _NO_ROUTE:
            raise
        raise RemoteFailed(f"cannot be asked for {what} ({error})", 501) from None


_NO_ROUTE = frozenset({404, 405})
_ANSWERS = tuple(range(200, 500))
_UNKNOWN = frozenset({501, 502})
"""501 is a server that knows no such method; 502 is ours, for a reply that is not understood."""
