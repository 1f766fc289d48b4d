"""Looking after another server's models over HTTP: our own, one that is read-only, and one that is Ollama."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from corral.api.client import HttpClient
from corral.runtime.errors import NotSupported, RemoteFailed
from corral.runtime.settings_change import SettingsChange
from corral.runtime.upkeep import Cleanup, Eviction, LoadPlan, PullPlan, UnfinishedPull
from corral.store.errors import ModelNotFound
from tests.fakes.served import MODEL, Serve, Served, ServedFake

PLAN = PullPlan("qwen3:32b", "e" * 64, 20, 10, 5, 3, 19, 400)
LEFT = UnfinishedPull("phi4:14b", 6, 9, 1_780_000_000.0, 5)
ROOM = LoadPlan(MODEL, 220, (Eviction("gemma3:4b", 44, "3 models are the limit", "asked 0.2× lately", True),), ("a",))


@pytest.fixture
async def client(served: Served) -> AsyncGenerator[HttpClient, None]:
    client = HttpClient(served.service.base_url)
    yield client
    await client.close()


async def test_what_a_server_tells_is_what_its_workbench_says(client: HttpClient, served: Served) -> None:
    fake = served.fake
    fake.plans, fake.unfinished, fake.load_plans = {PLAN.model: PLAN}, [LEFT], {MODEL: ROOM}
    assert await client.fits(MODEL) == tuple(await fake.fits(MODEL))
    assert await client.plan_load(MODEL) == ROOM
    assert await client.plan_pull(PLAN.model) == PLAN
    assert list(await client.unfinished_pulls()) == [LEFT]
    assert await client.plan_cleanup() == Cleanup(3, 20_900_000_000)
    assert await client.plan_delete([MODEL]) == await fake.plan_delete([MODEL])
    assert [one.name for one in await client.settings()] == ["keep_alive", "limit_rate", "max_queue"]


async def test_a_server_does_what_it_is_asked(client: HttpClient, served: Served) -> None:
    fake = served.fake
    fake.unfinished = [LEFT]
    assert await client.drop_unfinished(LEFT.model) == LEFT.completed
    fake.trash_s = 60.0
    assert (await client.plan_delete([MODEL])).kept_s == 60.0
    assert await client.trash([MODEL]) == (MODEL,)
    assert MODEL not in fake.models
    (kept,) = (await client.plan_cleanup()).trash
    assert kept.models == (MODEL,)
    assert await client.restore() == (MODEL,)
    assert await client.restore() == ()
    assert await client.clean_up() == 20_900_000_000
    assert [step.status async for step in client.verify(MODEL)] == ["verifying", "success"]
    await client.pin(MODEL, pinned=True)
    assert ("pin", MODEL, True) in fake.asked
    assert await client.adjust("keep_alive", "10m") == SettingsChange(("keep_alive",))
    assert fake.told_settings["keep_alive"].value == "10m"


async def test_what_cannot_be_is_told_as_here(client: HttpClient, served: Served) -> None:
    for verb in (client.fits, client.plan_load):
        with pytest.raises(ModelNotFound):
            await verb("nosuch")
    with pytest.raises(ModelNotFound):
        await client.plan_delete(["nosuch"])
    with pytest.raises(RemoteFailed, match="file does not exist"):
        await client.plan_pull("nosuch")
    with pytest.raises(RemoteFailed, match="there is no setting"):
        await client.adjust("nosuch", "1")
    served.fake.damaged = {MODEL}
    with pytest.raises(RemoteFailed, match="is damaged"):
        async for _ in client.verify(MODEL):
            pass


async def test_a_read_only_server_tells_and_removes_nothing(serve: Serve) -> None:
    served = serve(ServedFake.with_models(MODEL), read_only=True)
    client = HttpClient(served.service.base_url)
    assert await client.plan_cleanup() == Cleanup(3, 20_900_000_000)
    assert await client.unfinished_pulls() == ()
    for call in (client.clean_up(), client.drop_unfinished("x"), client.trash([MODEL]), client.restore()):
        with pytest.raises(RemoteFailed, match="read-only"):
            await call
    assert served.fake.asked == []
    await client.close()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_nothing_of_it_is_told_without_the_key(serve: Serve, method: str) -> None:
    served = serve(ServedFake.with_models(MODEL), api_key="secret")
    paths = ("fits", "plan/load", "plan/pull", "plan/delete", "pulls", "verify", "orphans", "pin", "config")
    for path in (*paths, "trash", "trash/restore"):
        assert served.request(method, f"/api/{path}", {"model": MODEL}).status_code in (401, 405), path


async def test_of_an_ollama_server_nothing_is_known() -> None:
    async def generate(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"model": MODEL, "done": True, "done_reason": "load"})

    async def none(request: web.Request) -> web.Response:
        return web.Response(status=404, text="404 page not found")

    asked: list[dict[str, object]] = []
    app = web.Application()
    app.add_routes([web.post("/api/generate", generate), web.route("*", "/{rest:.*}", none)])
    async with TestServer(app) as server:
        client = HttpClient(str(server.make_url("")).rstrip("/"))
        assert await client.restore() == ()
        assert (await client.fits(MODEL), await client.unfinished_pulls(), await client.settings()) == ((), (), ())
        for call in (
            client.plan_load(MODEL),
            client.plan_pull(MODEL),
            client.drop_unfinished(MODEL),
            client.plan_cleanup(),
            client.clean_up(),
            client.trash([MODEL]),
            client.adjust("keep_alive", "1m"),
        ):
            with pytest.raises(NotSupported, match="n/a"):
                await call
        with pytest.raises(NotSupported):
            async for _ in client.verify(MODEL):
                pass
        await client.pin(MODEL, pinned=True)
        assert asked == [{"model": MODEL, "stream": False, "keep_alive": -1}]
        await client.close()
