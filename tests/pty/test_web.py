"""The workbench in a browser: who is let in, and that a screen comes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.programs import CORRAL, environment, free_port
from tests.waiting import block_until

REFUSED = 1


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@contextlib.contextmanager
def page(store: Path, home: Path) -> Iterator[tuple[str, str]]:
    """Run `corral web`; gives the address of the page and the token."""
    port = free_port()
    command = [CORRAL, "web", "--port", str(port)]
    process = subprocess.Popen(command, env=environment(store, free_port(), home), stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda out: told.extend(out), args=(process.stdout,), daemon=True)
    reader.start()
    try:
        block_until(lambda: any("token=" in line for line in told) or process.poll() is not None)
        found = re.search(r"(http://\S+)/\?token=(\S+)", "".join(told))
        assert found is not None, told
        yield found[1], found[2]
    finally:
        process.terminate()
        assert process.wait(60) == 0
        reader.join(10)
        process.stdout.close()


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, allow_redirects=False) as reply:
        return reply.status


async def drawn(url: str, token: str, *, wanted: bytes) -> bytes:
    """Open a screen as the page does and read until `wanted` was drawn."""
    seen = b""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{url}/?token={token}") as reply:
            assert reply.status == 200
            assert "terminal" in await reply.text()
            assert "default-src 'self'" in reply.headers["Content-Security-Policy"], "the page asks nobody else"
        async with session.ws_connect(f"{url}/ws?width=120&height=36") as line, asyncio.timeout(60):
            async for message in line:
                if message.type is aiohttp.WSMsgType.BINARY:
                    seen += message.data
                if wanted in seen:
                    return seen
    raise AssertionError(f"the screen ended:\n{seen!r}")


@pytest.mark.timeout(200)
async def test_a_browser_gets_a_screen_and_strangers_get_none(own_store: Path, home: Path) -> None:
    with page(own_store, home) as (url, token):
        port = url.rpartition(":")[2]
        assert await status(f"{url}/") == 401
        assert await status(f"{url}/ws") == 401
        assert await status(f"{url}/?token=wrong") == 401
        assert await status(f"{url}/?token={token}") == 302
        bearer = f"Bearer {token}"
        assert await status(f"{url}/", Authorization=bearer) == 200
        assert await status(f"{url}/", Authorization=bearer, Host=f"localhost:{port}") == 200
        assert await status(f"{url}/", Authorization=bearer, Host=f"evil.example:{port}") == 403
        assert await status(f"{url}/ws", Authorization=bearer, Origin="http://evil.example") == 403
        screen = await drawn(url, token, wanted=b"Prompt to")
        assert b"Models" in screen


def test_an_address_that_others_reach_needs_a_key(own_store: Path, home: Path) -> None:
    command = [CORRAL, "web", "--listen", "0.0.0.0", "--port", str(free_port())]
    done = subprocess.run(
        command, env=environment(own_store, free_port(), home), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == REFUSED
    assert "no key is set" in done.stderr
    assert "CORRAL_API_KEY" in done.stderr
