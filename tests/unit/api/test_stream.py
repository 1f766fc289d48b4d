"""What happens to a stream when its reader is slow, goes away, or the server stops."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import threading
from collections.abc import AsyncGenerator

import pytest

from corral.runtime.errors import RequestCanceled
from corral.runtime.verbs import ChatRequest, Chunk
from tests.fakes.served import MODEL, Serve, Served, ServedFake, Until

BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()


def request_for(path: str, body: bytes = BODY) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def gated(serve: Serve) -> Served:
    """A service whose words wait to be released."""
    fake = ServedFake.with_models(MODEL)
    fake.gate = asyncio.Semaphore(0)
    return serve(fake)


def release(served: Served, count: int = 1) -> None:
    served.service.loop.call_soon_threadsafe(served.fake.release, count)


STREAM = json.loads(BODY) | {"stream": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", BODY),
        ("/api/chat", json.dumps(json.loads(BODY) | {"stream": False}).encode()),
        ("/v1/chat/completions", json.dumps(STREAM).encode()),
        ("/v1/chat/completions", BODY),
    ],
)
@pytest.mark.parametrize("words_before", [0, 1])
def test_a_client_that_leaves_closes_the_verb(
    gated: Served, until: Until, path: str, body: bytes, words_before: int
) -> None:
    fake = gated.fake
    with gated.connect() as connection:
        connection.sendall(request_for(path, body))
        until(lambda: len(fake.asked) == 1)
        release(gated, words_before)
        if words_before and b'"stream": true' in body:
            assert b"200 OK" in connection.recv(65536)
    until(lambda: fake.closed == 1)
    until(lambda: fake.requests.in_flight == 0)
    (row,) = fake.requests.rows()
    assert (row.state, row.status) == ("canceled", 499)


def test_a_client_that_leaves_a_pull_stops_it(gated: Served, until: Until) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for("/api/pull", b'{"model":"x"}'))
        received = b""
        while b"pulling manifest" not in received:
            received += connection.recv(65536)
    until(lambda: gated.fake.requests.in_flight == 0)
    assert "x:latest" not in gated.fake.models


def test_pieces_are_sent_when_they_come(gated: Served) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        for word in (b"t0 ", b"t1 "):
            release(gated)
            received = b""
            while word not in received:
                received += connection.recv(65536)
            assert received.endswith(b"}\n\r\n")


def test_events_that_are_long_in_coming_are_kept_alive(
    gated: Served, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.api.stream.KEEP_ALIVE_S", 0.02)
    with gated.connect() as connection:
        connection.sendall(request_for("/v1/chat/completions", json.dumps(STREAM).encode()))
        received = b""
        while received.count(b": keep-alive\n\n") < 2:
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 ")
        release(gated)
        while b"t0 " not in received or received.rpartition(b"t0 ")[2].count(b": keep-alive\n\n") < 2:
            received += connection.recv(65536)
        release(gated, 5)
        while b"data: [DONE]" not in received:
            received += connection.recv(65536)
    until(lambda: gated.fake.requests.in_flight == 0)
    assert gated.fake.requests.rows()[0].status == 200


def test_lines_are_not(gated: Served, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.stream.KEEP_ALIVE_S", 0.0)
    with gated.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        until(lambda: len(gated.fake.asked) == 1)
        release(gated, 5)
        received = b""
        while b'"done":true' not in received:
            received += connection.recv(65536)
    assert b"keep-alive\n" not in received


def test_an_error_behind_a_comment_is_told_in_the_stream(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.stream.KEEP_ALIVE_S", 0.02)
    fake = ServedFake.with_models(MODEL)
    fake.gate, fake.fail_with = asyncio.Semaphore(0), RequestCanceled()
    served = serve(fake)
    with served.connect() as connection:
        connection.sendall(request_for("/v1/chat/completions", json.dumps(STREAM).encode()))
        received = b""
        while b": keep-alive" not in received:
            received += connection.recv(65536)
        release(served)
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(65536)
    assert b"request canceled" in received
    assert received.count(b"HTTP/1.1") == 1


class Flood(ServedFake):
    """Answers without end, and counts."""

    made = 0
    stopped = False

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return self._flood()

    async def _flood(self) -> AsyncGenerator[Chunk, None]:
        try:
            while True:
                self.made += 1
                yield Chunk(text="x" * 1000)
        finally:
            self.stopped = True


def test_a_slow_reader_makes_the_answer_wait(serve: Serve, until: Until) -> None:
    flood = Flood()
    served = serve(flood)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    with connection:
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(request_for("/api/chat"))
        previous = -1

        def stands_still() -> bool:
            nonlocal previous
            before, previous = previous, flood.made
            return before == flood.made > 0

        until(stands_still)
        assert served.request("GET", "/api/version").status_code == 200
        assert flood.made < 10_000
        assert not flood.stopped
    until(lambda: flood.stopped)


def test_a_reader_that_reads_nothing_is_cut(serve: Serve, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.api.stream.WRITE_TIMEOUT_S", 0.1)
    flood = Flood()
    served = serve(flood)
    with served.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        until(lambda: flood.stopped)
        until(lambda: served.fake.requests.in_flight == 0)
    (row,) = flood.requests.rows()
    assert (row.status, "read nothing" in row.note) == (499, True)


def test_stop_leaves_no_connection_to_a_reader_that_reads_nothing(serve: Serve, until: Until) -> None:
    flood = Flood()
    served = serve(flood)
    with served.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        made = -1

        def stands_still() -> bool:
            nonlocal made
            before, made = made, flood.made
            return before == made > 0

        until(stands_still)
        with pytest.MonkeyPatch.context() as patched:
            left: list[object] = []
            patched.setattr(sys, "unraisablehook", left.append)
            served.service.stop(drain_s=0)
            gc.collect()
        assert left == []


def test_stop_waits_for_answers(gated: Served) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        release(gated)
        connection.recv(65536)
        stopping = threading.Thread(target=gated.service.stop)
        stopping.start()
        release(gated, 5)
        rest = b""
        while piece := connection.recv(65536):
            rest += piece
        stopping.join()
    assert b'"done":true' in rest
    assert gated.fake.ended


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_stop_ends_what_takes_too_long_with_an_error(gated: Served, path: str) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for(path, json.dumps(STREAM).encode()))
        release(gated)
        connection.recv(65536)
        gated.service.stop(drain_s=0.05)
        rest = b""
        while piece := connection.recv(65536):
            rest += piece
    assert b"the server is shutting down" in rest
    assert rest.endswith(b"0\r\n\r\n")
    assert (gated.fake.closed, gated.fake.ended) == (1, True)


def test_stop_answers_those_who_have_heard_nothing_yet(gated: Served, until: Until) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        until(lambda: len(gated.fake.asked) == 1)
        gated.service.stop(drain_s=0.05)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"error":"the server is shutting down"}')


def test_a_second_stop_does_not_wait(gated: Served) -> None:
    with gated.connect() as connection:
        connection.sendall(request_for("/api/chat"))
        release(gated)
        connection.recv(65536)
        stopping = threading.Thread(target=gated.service.stop, args=(600.0,))
        stopping.start()
        gated.service.stop_now()
        stopping.join(20)
        assert not stopping.is_alive()


def test_canceled_at_the_workbench(serve: Serve, until: Until) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.fail_with, fake.fail_after = RequestCanceled(), 1
    served = serve(fake)
    assert served.lines("/api/chat", json.loads(BODY))[-1] == {"error": "request canceled"}
    until(lambda: fake.requests.in_flight == 0)
    assert fake.requests.rows()[0].state == "canceled"
    fake.fail_after = 0
    assert served.post("/api/chat", BODY).status_code == 499
