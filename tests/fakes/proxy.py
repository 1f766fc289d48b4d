"""A proxy of HTTP on the way to servers elsewhere: every name it is asked for is a server on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.fakes.ending import end_streams


@dataclass
class Proxy:
    """`asked` has the first line of every connection, `writers` the ends of all."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open a tunnel (CONNECT), or pass on the request of a connection and what comes after it."""
        self.writers.add(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        line, rest = head.split(b"\r\n", 1)
        self.asked.append(line.decode())
        method, target, version = line.split(b" ")
        place = urlsplit(b"//" + target if method == b"CONNECT" else target)
        there, out = await asyncio.open_connection("127.0.0.1", place.port)
        self.writers.add(out)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            out.write(b" ".join((method, place.path, version)) + b"\r\n" + rest)
        await asyncio.gather(_pass_on(reader, out), _pass_on(there, writer))


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()


@asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    """Run one."""
    found = Proxy()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        await end_streams(server, found.writers)
