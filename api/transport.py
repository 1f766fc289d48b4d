"""One way to ask a server: bodies out as JSON, replies in as types or lines, failures as our errors. Bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from corral.runtime.errors import RemoteFailed, RequestCanceled, RunError, ServerUnreachable
from corral.runtime.server_address import is_loopback
from corral.store.errors import InvalidName, ModelNotFound, StoreError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CONNECT_S = 5.0
READ_OUT_S = 0.5
MAX_REPLY = 64 * 2**20
MAX_LINE = 16 * 2**20
MAX_ERROR = 64 * 2**10
_SHOWN_ERROR = 200
_ASKS_FOR_TIME = frozenset({429, 503})


class Reply(Protocol):
    """What came back, as much of it as httpx's replies and others have in common."""

    @property
    def status_code(self) -> int:
        """HTTP's status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What was said of it; names match in any case."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        ...


class Transport:
    """Requests to one server. Belongs to the loop it is first used on."""

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        trusted: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`trusted` is a file of certificates by which a server is known, beside those of the system."""
        self._trusted = trusted
        self.base_url = base_url.rstrip("/")
        self._headers = {**(headers or {}), **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
        self._http: httpx.AsyncClient | None = None

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx  # 80 ms, for those who ask something only; see `plain_http` for who asks little

            from corral.api.tls import client_tls
            from corral.api.version import SERVER

            parts = urlsplit(self.base_url)
            self._http = httpx.AsyncClient(
                base_url=self.base_url,
                headers={"User-Agent": SERVER.lower(), **self._headers},
                # A model may take minutes until its first byte.
                timeout=httpx.Timeout(None, connect=CONNECT_S),
                # How many may be asked at once is for the caller to say; a hidden queue would look like a slow server.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0),
                # Reading the certificates takes 30 ms; without TLS nobody needs them.
                verify=parts.scheme == "https" and client_tls(self._trusted, parts.hostname or ""),
                # A proxy of the environment is not meant for this machine.
                trust_env=not is_loopback(parts.hostname or ""),
            )
        return self._http

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, content: bytes | AsyncIterable[bytes] | None, accept: str = ""
    ) -> AsyncGenerator[Reply, None]:
        import httpx

        began = False
        headers = {"Content-Type": "application/json"} if isinstance(content, bytes) else None
        try:
            if accept:
                headers = {**(headers or {}), "Accept": accept}
            async with self._client().stream(method, path, content=content, headers=headers) as response:
                began = True
                yield response
        except httpx.TransportError as error:
            if began:
                raise ServerUnreachable("the server went away in the middle of its answer") from error
            raise ServerUnreachable(f"could not connect to a server at {self.base_url}") from error
        except httpx.InvalidURL as error:
            raise ServerUnreachable(f"no address of a server: {self.base_url}") from error

    async def call(
        self, method: str, path: str, reply: type[T], body: Mapping[str, object] | None = None, *, model: str = ""
    ) -> T:
        """Ask and read one object.

        Raises:
            ServerUnreachable: nobody answers.
            ModelNotFound, InvalidName: the server says so of `model`.
            RemoteFailed: any other error, or a reply that is none.
        """
        async with self._open(method, path, _json(body)) as response:
            await _raise_for_status(response, model)
            data = await _read(response, MAX_REPLY)
        return _decode(data, reply)

    async def packed(self, path: str, reply: type[T], accept: str) -> T:
        """Ask for one object as MessagePack. Raises as `call` does."""
        async with self._open("GET", path, None, accept) as response:
            await _raise_for_status(response, "")
            data = await _read(response, MAX_REPLY)
        try:
            return msgspec.msgpack.decode(data, type=reply)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RemoteFailed("the server's reply is not understood", 502) from None

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | AsyncIterable[bytes] | None = None,
        *,
        model: str = "",
        expected: tuple[int, ...] = (),
    ) -> int:
        """Ask and return the status; those in `expected` are no errors. Raises as `call` does."""
        content = body if isinstance(body, AsyncIterable) else _json(body)
        async with self._open(method, path, content) as response:
            if response.status_code not in expected:
                await _raise_for_status(response, model)
            return response.status_code

    async def lines(
        self, path: str, reply: type[T], body: Mapping[str, object], *, model: str = ""
    ) -> AsyncGenerator[T, None]:
        """Ask and yield the lines of the reply; closing the generator ends the connection. Raises as `call` does."""
        async with self._open("POST", path, _json(body)) as response:
            await _raise_for_status(response, model)
            lines = _Lines()
            async for piece in response.aiter_bytes():
                for line in lines.whole(piece):
                    if line:
                        yield _decode_line(line, reply, model)
            if lines.rest.strip():
                yield _decode_line(bytes(lines.rest), reply, model)

    async def events(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[bytes, None]:
        """Ask and yield what the reply's server-sent events hold, up to `[DONE]`. Raises as `call` does."""
        async with self._open("POST", path, _json(body)) as response:
            await _raise_for_status(response, "")
            lines = _Lines()
            pieces = response.aiter_bytes()
            async for piece in pieces:
                for line in lines.whole(piece):
                    if line.startswith(b"data:"):
                        data = line[5:].strip()
                        if data == b"[DONE]":
                            await _read_out(pieces)
                            return
                        yield data


class _Lines:
    """The lines of a reply as its pieces come; `rest` is what has no end yet."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def whole(self, piece: bytes) -> list[bytes]:
        """Take a piece and return the lines that ended in it, without blanks around them. Raises RemoteFailed."""
        if not self.rest and piece.endswith(b"\n"):  # as most pieces are: whole lines
            return [line.strip() for line in piece[:-1].split(b"\n")]
        self.rest += piece
        if len(self.rest) > MAX_LINE:
            raise RemoteFailed("the server sent a line without end", 502)
        if b"\n" not in piece:
            return []
        *whole, self.rest = self.rest.split(b"\n")
        return [bytes(line).strip() for line in whole]


async def _read_out(pieces: AsyncIterator[bytes]) -> None:
    """Take the end of a reply that has said all, so that its connection can be used again; endless ones are cut off."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_OUT_S):
            async for _ in pieces:
                pass


def _json(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


async def _read(response: Reply, limit: int) -> bytes:
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > limit:
            raise RemoteFailed("the server's reply is too large", 502)
    return bytes(data)


def _decode(data: bytes, reply: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=reply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteFailed("the server's reply is not understood", 502) from None


def _decode_line(line: bytes, reply: type[T], model: str) -> T:
    decoded = _decode(line, reply)
    message = getattr(decoded, "error", "")
    if message:
        raise _error(message, 500, model)
    return decoded


async def _raise_for_status(response: Reply, model: str) -> None:
    if 200 <= response.status_code < 300:
        return
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > MAX_ERROR:
            break
    error = _error(error_text(bytes(data)), response.status_code, model)
    if isinstance(error, RemoteFailed) and error.status in _ASKS_FOR_TIME:
        from corral.store.retry import retry_after_s

        error.retry_after_s = retry_after_s(response.headers.get("Retry-After"))
    raise error


def error_text(data: bytes) -> str:
    """Return what a body says went wrong, as Ollama, OpenAI's API and what copies it, or FastAPI say it."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data[:_SHOWN_ERROR].decode("utf-8", "replace")
    for _ in range(2):
        if isinstance(said, dict):
            said = said.get("error") or said.get("message") or said.get("detail") or ""
    return said if isinstance(said, str) else str(said)[:_SHOWN_ERROR]


def _error(message: str, status: int, model: str) -> RunError | StoreError:
    """Map what a server says back to our types."""
    text = " ".join(message.split())[:1000]
    if status == 404 and model and "not found" in text and "page not found" not in text:
        return ModelNotFound(model)
    if status == 400 and text == "invalid model name":
        return InvalidName(model)
    if status == 499 or text == "request canceled":
        return RequestCanceled()
    return RemoteFailed(text or f"the server answered with status {status}", status)
