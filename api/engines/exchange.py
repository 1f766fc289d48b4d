"""A request and its reply over one of aiohttp's kept connections, one level below its sessions.

What a session does for each request (cookies, redirects, tracing, a task that writes the body) takes four times as long
as sending it, and nothing of it is meant for engines.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

KEPT_S = 30.0
"""How long a connection that nobody uses is kept."""
_SILENT_S = 10
_ASKED_EVERY_S = 5
_ASKED = 3
_GONE_MS = 25_000


class Exchanges:
    """Requests to the server at `url`, which has no path. Belongs to the loop it is made on."""

    def __init__(
        self, url: str, headers: Mapping[str, str], connect_s: float, tls: ssl.SSLContext | None, proxy: str | None
    ) -> None:
        """Raises ValueError: that is no address, or `proxy` is none."""
        # How many may be asked at once is for the caller to say; a hidden queue would look like a slow server.
        self._connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEPT_S, ssl=tls or False, socket_factory=watchful_socket
        )
        self._timeout = aiohttp.ClientTimeout(connect=connect_s)
        # Stands for every request: it says where to connect to and how, and which headers all of them have.
        self._every = aiohttp.ClientRequest("GET", URL(url), headers=headers, proxy=URL(proxy) if proxy else None)
        self._before_path = url if proxy and tls is None else ""

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    @asynccontextmanager
    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> AsyncGenerator[Received, None]:
        """Send a request and wait for the head of its reply. A connection whose reply was read to its end is kept.

        Raises:
            aiohttp.ClientError, OSError: the server cannot be reached, or is gone.
            aiohttp.http.HttpProcessingError: what came is no HTTP.
        """
        connection = await self._connector.connect(self._every, [], self._timeout)
        protocol, transport, body = connection.protocol, connection.transport, None
        assert protocol is not None
        assert transport is not None
        try:
            protocol.set_response_params(read_until_eof=True)
            transport.write(self._head(method, path, content, headers) + (content or b""))
            while True:
                message, body = await protocol.read()
                if message.code >= 200:
                    break
            yield Received(message.code, message.headers, body)
        finally:
            if body is not None and body.is_eof():
                connection.release()
            else:
                connection.close()

    def _head(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {self._before_path}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for fields in (self._every.headers, headers) for name, value in fields.items()]
        if content is not None:
            lines.append(f"Content-Length: {len(content)}")
        return "\r\n".join((*lines, "\r\n")).encode()


class Received:
    """The head of a reply, and its body as it comes."""

    def __init__(self, status_code: int, headers: CIMultiDictProxy[str], body: aiohttp.StreamReader) -> None:
        self.status_code = status_code
        self.headers = headers
        self.aiter_bytes = body.iter_any


def watchful_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket that notices when the machine at its other end is gone without a word.

    An answer may be waited for as long as a load takes; the system asks meanwhile whether anybody is still there.
    """
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_S),
        ("TCP_KEEPALIVE", _SILENT_S),  # what macOS calls it
        ("TCP_KEEPINTVL", _ASKED_EVERY_S),
        ("TCP_KEEPCNT", _ASKED),
        ("TCP_USER_TIMEOUT", _GONE_MS),  # of what was sent and not taken
    ):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
