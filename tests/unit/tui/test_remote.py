"""Screens on a server elsewhere: an Ollama server, which tells little, and one that goes away and comes back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from corral.api.client import HttpClient
from corral.api.server import Service
from corral.runtime.errors import ServerUnreachable
from corral.runtime.settings import Settings
from corral.tui.actions import Where
from corral.tui.app import WorkbenchApp
from corral.tui.link import LateLink, ServiceLink
from corral.tui.remote import RemoteLink, RemoteService, end_tasks
from tests.fakes.client import FakeClient
from tests.fakes.screen import ENVIRON, STYLES, overflows, picture, until
from tests.fakes.served import Served, ServedFake
from tests.programs import free_port

MODEL = {
    "name": "llama3.2:3b",
    "model": "llama3.2:3b",
    "digest": "a" * 64,
    "size": 3_000_000_000,
    "size_vram": 3_000_000_000,
    "context_length": 8192,
    "modified_at": "2026-06-02T12:30:00Z",
    "expires_at": "2318-06-02T12:30:00Z",
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
}


def app_on(link: ServiceLink, mode: Where) -> WorkbenchApp:
    class Started(WorkbenchApp):
        CSS_PATH = STYLES
        DEFAULT_MODE = mode

    return Started(link, environ=ENVIRON)


@pytest.fixture
async def ollama() -> AsyncGenerator[str, None]:
    """As much of an Ollama server as the screens ask when they open."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"models": [MODEL]})

    async def show(request: web.Request) -> web.Response:
        return web.json_response({"details": MODEL["details"], "capabilities": ["completion"]})

    app = web.Application()
    app.add_routes([web.get("/api/tags", models), web.get("/api/ps", models), web.post("/api/show", show)])
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
def there(ollama: str) -> Iterator[RemoteService]:
    service = RemoteService(ollama)
    service.start()
    yield service
    service.stop()


async def test_an_ollama_server_has_all_five_screens(there: RemoteService) -> None:
    app = app_on(RemoteLink(there), Where.CHAT)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "Prompt to llama3.2:3b" in picture(app))
        await pilot.press("f4")
        await until(pilot, lambda: "Model · llama3.2:3b" in picture(app))
        shown = picture(app).splitlines()
        [row] = [line for line in shown if "llama3.2:3b" in line and "in memory" in line]
        assert row.split()[1:-3] == ["llama3.2:3b", "GPU", "3.0G", "n/a", "n/a", "8k", "n/a", "n/a", "∞"]
        for label in ("takes", "lies in", "cells", "hits", "evict"):
            [line] = [line for line in shown if f"│ {label}" in line]
            assert "n/a" in line
        for key in ("f3", "f5", "f6"):
            await pilot.press(key)
            await until(pilot, lambda: "127.0.0.1:" in picture(app).splitlines()[0])
            assert overflows(app) == []
        await pilot.press("f3")
        await until(pilot, lambda: "llama3.2:3b" in picture(app) and "Q4_K_M" in picture(app))
        assert "Error" not in picture(app)


async def test_a_server_that_comes_back_is_shown_again() -> None:
    port = free_port()
    away = RemoteService(f"http://127.0.0.1:{port}")
    away.start()
    app = app_on(RemoteLink(away), Where.SERVER)
    fake = ServedFake.with_models("there:latest")
    service = Service(Settings(models=Path("/nonexistent"), listen_port=port), workbench=lambda _: fake)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "✗ no answer" in picture(app) and "✗ could not connect" in picture(app))
        assert "does not answer" in picture(app)
        service.start()
        served = Served(fake, service)
        await until(pilot, lambda: f"● {served.service.address}" in picture(app))
        await until(pilot, lambda: "could not connect" not in picture(app))
    away.stop()
    service.stop(drain_s=0)


async def test_verbs_wait_for_a_service_that_has_yet_to_start() -> None:
    link = LateLink("127.0.0.1:11434")
    assert link.latest().serving == "127.0.0.1:11434"
    asked = asyncio.ensure_future(link.call(lambda client: client.list_models()))
    await asyncio.sleep(0)
    assert not asked.done()
    link.arrive(FakeClient.with_models("a:latest"), asyncio.get_running_loop())
    assert [one.name for one in await asked] == ["a:latest"]
    assert link.latest().serving == ""


async def test_verbs_say_why_a_service_did_not_start() -> None:
    link = LateLink()
    link.fail(ServerUnreachable("no"))
    with pytest.raises(ServerUnreachable):
        await link.call(lambda client: client.list_models())
    assert link.latest().serving == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", range(5))
async def test_an_end_in_any_moment_of_a_connection_leaves_nothing_unawaited(steps: int) -> None:
    client = HttpClient(f"http://127.0.0.1:{free_port()}")
    asking = asyncio.create_task(client.refresh())
    for _ in range(steps):
        await asyncio.sleep(0)
    await end_tasks()
    assert asking.done()
    if not asking.cancelled():
        assert isinstance(asking.exception(), ServerUnreachable)
    await client.close()
    del asking
    gc.collect()
