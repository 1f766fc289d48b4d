"""What connections send within one turn of the loop, sent together at its end.

A send wakes who reads it. A step of an engine gives every stream a token: sent in a row, they find their reader awake.
And an answer's head goes with its first piece, its last piece with its end.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from typing import Any, TypeAlias

_MOST = 1 << 16
"""Bytes that are kept until the turn ends: more than that waits where the system says how fast its reader is."""
_Data: TypeAlias = bytes | bytearray | memoryview


class Outgoing:
    """The connections that have something to send in this turn. Belongs to one loop."""

    def __init__(self) -> None:
        self._waiting: list[GatheringTransport] = []
        self._open: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._is_over = False

    def opened(self, transport: asyncio.Transport) -> None:
        """Note a connection, to be ended with all others; at once where they have been."""
        self._open.add(transport)
        if self._is_over:
            transport.abort()

    async def abort(self) -> None:
        """End all connections now, also those that were closed and wait for a reader who does not come."""
        self._is_over = True
        for transport in tuple(self._open):
            transport.abort()
        await asyncio.sleep(0)  # in which they are told

    def add(self, transport: GatheringTransport) -> None:
        """Send what a connection has at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(transport)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.flush()


def send_now(transport: asyncio.BaseTransport | None) -> None:
    """Send what a connection has before the turn ends: the first piece of an answer, which somebody waits for."""
    if isinstance(transport, GatheringTransport):
        transport.flush()


class GatheredConnection(asyncio.Protocol):
    """Puts the gathering between a protocol and its transport, as soon as there is one, and is gone."""

    def __init__(self, protocol: asyncio.Protocol, outgoing: Outgoing) -> None:
        self._protocol = protocol
        self._outgoing = outgoing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection on."""
        assert isinstance(transport, asyncio.Transport)
        self._outgoing.opened(transport)
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(GatheringTransport(transport, self._outgoing))


class GatheringTransport(asyncio.Transport):
    """A transport that keeps what is written until the turn of the loop ends. What it keeps is nobody's to wait for,
    so it does not count as buffered."""

    def __init__(self, transport: asyncio.Transport, outgoing: Outgoing) -> None:
        super().__init__()
        self._transport = transport
        self._outgoing = outgoing
        self._kept: list[bytes] = []
        self._size = 0

    def write(self, data: _Data) -> None:
        """Send some bytes."""
        if not self._kept:
            self._outgoing.add(self)
        self._kept.append(bytes(data))
        self._size += len(data)
        if self._size > _MOST:
            self.flush()

    def writelines(self, list_of_data: Iterable[_Data]) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def flush(self) -> None:
        """Send now what is kept."""
        kept = self._kept
        if kept:
            data = kept[0] if len(kept) == 1 else b"".join(kept)
            self._kept, self._size = [], 0
            self._transport.write(data)

    def write_eof(self) -> None:
        """End what is sent; the other side may go on."""
        self.flush()
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """Whether that is possible."""
        return self._transport.can_write_eof()

    def close(self) -> None:
        """Send what there is, and end the connection."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        self._kept, self._size = [], 0
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or being closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have somebody else told what comes."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told what comes."""
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        """Whether what comes is read."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say at how many buffered bytes a writer is to wait, and at how few it may go on."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """These limits."""
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """How many bytes the system has not taken yet."""
        return self._transport.get_write_buffer_size()
