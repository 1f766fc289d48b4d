"""What is sent in one turn of the loop goes out together, and nothing of it is lost or kept longer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress

import pytest

from corral.api.outgoing import GatheringTransport, Outgoing
from corral.runtime.snapshot import RequestState, RequestView
from tests.fakes.served import MODEL, Serve, ServedFake


class Line(asyncio.Transport):
    """A transport that notes what it is told."""

    def __init__(self, told: list[tuple[str, bytes]], name: str) -> None:
        super().__init__()
        self._told = told
        self._name = name

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._told.append((self._name, bytes(data)))

    def close(self) -> None:
        self._told.append((self._name, b"<close>"))

    def abort(self) -> None:
        self._told.append((self._name, b"<abort>"))


async def test_what_is_written_in_one_turn_goes_out_together() -> None:
    told: list[tuple[str, bytes]] = []
    outgoing = Outgoing()
    one, other = (GatheringTransport(Line(told, name), outgoing) for name in ("one", "other"))
    piece = bytearray(b"piece ")
    one.write(b"head ")
    other.write(b"word")
    one.write(piece)
    piece[:] = b"------"
    one.writelines([b"and ", b"end"])
    assert told == []
    await asyncio.sleep(0)
    assert told == [("one", b"head piece and end"), ("other", b"word")]
    one.write(b"next")
    await asyncio.sleep(0)
    assert told[2:] == [("one", b"next")]


async def test_a_connection_that_ends_sends_first_unless_it_is_cut() -> None:
    told: list[tuple[str, bytes]] = []
    outgoing = Outgoing()
    ends, cut = (GatheringTransport(Line(told, name), outgoing) for name in ("ends", "cut"))
    ends.write(b"last words")
    cut.write(b"lost")
    ends.close()
    cut.abort()
    await asyncio.sleep(0)
    assert told == [("ends", b"last words"), ("ends", b"<close>"), ("cut", b"<abort>")]


async def test_much_is_sent_at_once_so_that_its_writer_can_be_made_to_wait() -> None:
    told: list[tuple[str, bytes]] = []
    line = GatheringTransport(Line(told, "one"), Outgoing())
    for _ in range(100):
        line.write(bytes(1024))
    assert [len(data) for _, data in told] == [65 * 1024]
    await asyncio.sleep(0)
    assert sum(len(data) for _, data in told) == 100 * 1024


BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()
ASK = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def test_the_head_of_an_answer_comes_with_its_first_piece_and_its_last_with_its_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    flush = GatheringTransport.flush

    def note(transport: GatheringTransport) -> None:
        if transport._kept:
            sent.append(b"".join(transport._kept))
        flush(transport)

    monkeypatch.setattr(GatheringTransport, "flush", note)
    served = serve(ServedFake.with_models(MODEL))
    with served.connect() as connection:
        connection.sendall(ASK)
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += connection.recv(65536)
    first, rest = sent  # words that are there with the first are not waited for
    assert first.startswith(b"HTTP/1.1 200 ")
    assert first.count(b'"done"') == 1
    assert b'"done":true' in rest
    assert rest.endswith(b"\r\n0\r\n\r\n")


def test_the_end_of_an_answer_is_there_before_its_row_is_closed(serve: Serve) -> None:
    """What is noted of a request when it ends takes as long as sending it."""
    fake = ServedFake.with_models(MODEL)
    served = serve(fake)
    received = bytearray()
    noted = threading.Event()
    with served.connect() as connection:
        connection.settimeout(20)

        def take(row: RequestView, before: RequestState) -> None:
            with suppress(BlockingIOError):
                received.extend(connection.recv(65536, socket.MSG_DONTWAIT))
            noted.set()

        fake.requests.on_end = take
        connection.sendall(ASK)
        assert noted.wait(20)
    assert received.endswith(b"\r\n0\r\n\r\n")
