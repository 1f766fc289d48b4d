"""The way of a command to the server on this machine, in plain HTTP: a connection for each request, on h11.

To read in httpx takes as long as all else that `corral list` does. What that is for has no place here: between two
programs of one machine there is no TLS, no proxy and nothing packed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h11

from corral.api.transport import CONNECT_S, Reply, Transport
from corral.runtime.errors import ServerUnreachable
from corral.runtime.server_address import is_loopback

_PIECE: Final = 2**16
_LONGEST_HEAD: Final = 100 * 2**10
"""Of a reply, in bytes; as httpx allows."""


def way_to(base_url: str, api_key: str = "", trusted: Path | None = None) -> Transport:
    """Return the way to a server: this one where it will do. As `Transport`."""
    parts = urlsplit(base_url)
    is_plain = parts.scheme == "http" and is_loopback(parts.hostname or "") and "@" not in parts.netloc
    return (PlainTransport if is_plain else Transport)(base_url, api_key, trusted)


class PlainTransport(Transport):
    """Requests to a server on this machine."""

    async def close(self) -> None:
        """Nothing is kept open."""

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, content: bytes | AsyncIterable[bytes] | None, accept: str = ""
    ) -> AsyncGenerator[Reply, None]:
        parts = urlsplit(self.base_url)
        # Without the version, which takes 15 ms to find out.
        headers = [("Host", parts.netloc), ("User-Agent", "corral"), ("Connection", "close")]
        headers += self._headers.items()
        if accept:
            headers.append(("Accept", accept))
        if isinstance(content, bytes):
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        elif content is not None:
            headers.append(("Transfer-Encoding", "chunked"))
        began = False
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=_PIECE)
            try:
                exchange = _Exchange(reader, writer)
                await exchange.ask(h11.Request(method=method, target=parts.path + path, headers=headers), content)
                reply = await exchange.reply()
                began = True
                yield reply
            finally:
                writer.transport.abort()  # nothing is left to send, unless nobody wants it any more
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        except (OSError, h11.RemoteProtocolError) as error:  # a connection that takes too long is an OSError as well
            if began:
                raise ServerUnreachable("the server went away in the middle of its answer") from error
            raise ServerUnreachable(f"could not connect to a server at {self.base_url}") from error


class _Exchange:
    """One request and what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)

    async def ask(self, request: h11.Request, content: bytes | AsyncIterable[bytes] | None) -> None:
        """Send a request."""
        self._send(request)
        if isinstance(content, bytes):
            self._send(h11.Data(content))
        elif content is not None:
            async for piece in content:
                self._send(h11.Data(piece))
                await self._writer.drain()
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")

    async def reply(self) -> _Reply:
        """Return what comes back, as far as its head."""
        while not isinstance(event := await self._next(), h11.Response):
            pass
        return _Reply(event.status_code, _Fields(event), self._body())

    async def _body(self) -> AsyncGenerator[bytes, None]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def _next(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_PIECE))
        assert isinstance(event, h11.Event), "a connection has one exchange, behind which nobody asks for more"
        return event


class _Fields(Mapping[str, str]):
    """What a head says, by names in any case; of several fields of one name the last."""

    def __init__(self, head: h11.Response) -> None:
        self._fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class _Reply:
    """A reply as `Transport` reads one."""

    def __init__(self, status: int, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> None:
        self.status_code = status
        self.headers = headers
        self._body = body

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        return self._body
