"""Snapshots over HTTP: whole, in pieces, and what an Ollama server tells of one."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from corral.api.client import HttpClient
from corral.api.snapshot_wire import SnapshotReader, SnapshotWire, reply_of
from corral.runtime.errors import RemoteFailed, ServerUnreachable
from corral.runtime.snapshot import EMPTY, HostSample, RequestState, Snapshot
from tests.fakes.moment import AT_S, HOST, WALL_S, model, moment, request
from tests.fakes.served import Serve, Served
from tests.programs import free_port


@pytest.fixture
async def client(served: Served) -> AsyncGenerator[HttpClient, None]:
    client = HttpClient(served.service.base_url)
    yield client
    await client.close()


def told(reader: SnapshotReader, now: Snapshot, *, since_s: float | None = None, service: str = "") -> SnapshotWire:
    data = msgspec.msgpack.encode(reply_of(now, since_s=since_s, service=service))
    reply = msgspec.msgpack.decode(data, type=SnapshotWire)
    reader.take(reply)
    return reply


def samples(first: int, last: int) -> tuple[HostSample, ...]:
    bare = tuple(replace(HOST, cpu_percent=float(n), cpu_per_core=()) for n in range(first, last))
    return (*bare, replace(HOST, cpu_percent=float(last)))


def test_a_whole_snapshot_arrives_as_it_was_sent() -> None:
    now = moment(models=(model("a", expires_in_s=math.inf), model("b", expires_in_s=4.5), model("c")))
    reader = SnapshotReader()
    told(reader, now)
    assert reader.snapshot == now


def test_what_has_changed_makes_the_same_whole() -> None:
    old = moment(history=samples(0, 120), throughput=(1.0, 2.0, 2.0))
    new = replace(
        old,
        at_s=AT_S + 2,
        wall_s=WALL_S + 2,
        requests=(
            request(61, state=RequestState.DONE, ended_s=AT_S + 1.5, status=200),
            replace(old.requests[0], state=RequestState.DONE, ended_s=AT_S + 1, status=200),
            *old.requests[1:],
        ),
        events=(replace(old.events[0], wall_s=WALL_S + 1), *old.events),
        history=samples(0, 122),
        throughput=(1.0, 2.0, 2.0, 2.0, 7.0),
    )
    reader = SnapshotReader()
    told(reader, old)
    reply = told(reader, new, since_s=old.at_s, service=reader.service)
    assert reply.partial
    assert len(reply.snapshot.history) < 10
    assert len(reply.snapshot.requests) < len(new.requests)
    assert reader.snapshot == new


def test_a_request_that_is_told_no_more_does_not_run_for_ever() -> None:
    reader = SnapshotReader()
    told(reader, moment())
    told(reader, moment(at_s=AT_S + 500, requests=()), since_s=AT_S, service=reader.service)
    assert all(row.ended_s is not None for row in reader.snapshot.requests)


def test_another_process_at_the_address_tells_everything_anew() -> None:
    reader = SnapshotReader()
    assert not told(reader, moment(), since_s=1.0, service="another").partial


async def test_a_client_puts_replies_together(client: HttpClient, served: Served) -> None:
    assert client.latest() is EMPTY
    served.fake.snapshot = moment()
    first = await client.refresh()
    assert first.models == moment().models
    assert first.requests == (), "the request that asks is no row of the table"
    second = await client.refresh()
    assert second.at_s > first.at_s
    assert client.latest() is second


async def test_people_get_json(served: Served) -> None:
    served.fake.snapshot = moment(models=(model("a", expires_in_s=math.inf),))
    reply = served.request("GET", "/api/snapshot").json()
    assert reply["snapshot"]["models"][0] | {"expires_in_s": None} == reply["snapshot"]["models"][0]
    assert served.fake.requests.rows() == (), "polls would push what people ask out of the table"


async def test_keys_are_sent(serve: Serve) -> None:
    served = serve(api_key="secret")
    without = HttpClient(served.service.base_url)
    with pytest.raises(RemoteFailed):
        await without.refresh()
    await without.close()
    with_key = HttpClient(served.service.base_url, "secret")
    assert (await with_key.refresh()).at_s
    await with_key.close()


async def test_a_moment_that_is_none_is_refused(served: Served) -> None:
    for since in ("x", "nan", "inf"):
        assert served.request("GET", f"/api/snapshot?since={since}").status_code == 400


async def test_an_ollama_server_tells_the_models_in_memory() -> None:
    async def ps(request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": "a:latest", "size": 5, "size_vram": 4, "context_length": 8192}]})

    app = web.Application()
    app.add_routes([web.get("/api/ps", ps)])
    async with TestServer(app) as server:
        client = HttpClient(str(server.make_url("/")))
        snapshot = await client.refresh()
        assert await client.refresh() != EMPTY
        await client.close()
    [view] = snapshot.models
    assert (view.name, view.weights_bytes, view.vram_bytes, view.expires_in_s) == ("a:latest", 5, 4, math.inf)
    assert (snapshot.host, snapshot.requests) == (None, ())


async def test_nobody_there() -> None:
    client = HttpClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServerUnreachable):
        await client.refresh()
    await client.close()
