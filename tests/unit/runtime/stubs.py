"""Models whose engine is a server of the tests': made, asked, and asked by many while their servers fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.api.engines.connection import Connections
from corral.runtime.errors import RemoteFailed
from corral.runtime.settings import Settings
from corral.runtime.verbs import ChatRequest, Chunk, CreateRequest, GenerateRequest, Message
from corral.runtime.workbench import Workbench
from tests.fakes.upstream import Program, Upstream, upstreams
from tests.waiting import until

PATIENCE_S = 240.0
"""For programs that start beside many others; a test's own time limit is shorter or not, as it likes."""


@pytest.fixture
async def workbench(tmp_path: Path) -> AsyncIterator[Workbench]:
    keys = (("127.0.0.1", "secret"),)
    settings = Settings(models=tmp_path / "models", remotes=("127.0.0.1",), remote_keys=keys, max_queue=300)
    bench = Workbench(settings, warm=False, connect=Connections(keys))
    await bench.start()
    yield bench
    await bench.close()


async def stub(bench: Workbench, *servers: Upstream | Program, name: str = "far", **more: object) -> None:
    hosts = ",".join(server.url for server in servers)
    request = CreateRequest(name, base="org/model", remote_host=hosts, **more)  # type: ignore[arg-type]
    assert [step.status async for step in bench.create(request)][-1] == "success"


def question(text: str = "Hello?", **more: object) -> ChatRequest:
    return ChatRequest("far", (Message("user", text),), **more)  # type: ignore[arg-type]


async def answer(bench: Workbench, request: ChatRequest | GenerateRequest) -> tuple[str, Chunk]:
    stream = bench.chat(request) if isinstance(request, ChatRequest) else bench.generate(request)
    chunks = [chunk async for chunk in stream]
    return "".join(chunk.text for chunk in chunks), chunks[-1]


async def lose_none(bench: Workbench, fault: str, requests: int) -> None:
    """Three servers fail every third request before it begins: all are answered."""
    async with upstreams(3, failing=0.3, fault=fault) as servers:
        await stub(bench, *servers)
        room = asyncio.Semaphore(24)

        async def one() -> str:
            async with room:
                return (await answer(bench, question()))[0]

        answers = await asyncio.gather(*(one() for _ in range(requests)))
        assert answers.count("one two three ") == len(answers)


async def outlive_kills(bench: Workbench, requests: int) -> int:
    """Servers are killed and started again all along: none is lost that had not begun. Returns how many were killed."""
    servers = [Program() for _ in range(3)]
    room = asyncio.Semaphore(8)
    ended: list[bool] = []  # whether each request came to its end
    lost: list[str] = []
    kills = 0

    async def one() -> None:
        async with room:
            begun = False
            try:
                async for chunk in bench.chat(question()):
                    begun = begun or bool(chunk.text)
                ended.append(True)
            except RemoteFailed as error:
                ended.append(False)
                if not begun:
                    lost.append(str(error))

    async def kill() -> None:
        nonlocal kills
        while len(ended) < requests:
            server, seen = servers[kills % len(servers)], len(ended)
            server.kill()
            server.start()
            kills += 1
            await until(lambda: server.listens() and len(ended) >= min(requests, seen + 20), PATIENCE_S)  # noqa: B023

    try:
        for server in servers:
            server.start()
        await until(lambda: all(server.listens() for server in servers), PATIENCE_S)
        await stub(bench, *servers)
        killing = asyncio.create_task(kill())
        await asyncio.gather(*(one() for _ in range(requests)))
        await killing
    finally:
        for server in servers:
            server.kill()
    assert not lost
    assert sum(ended) > requests * 0.8
    return kills
