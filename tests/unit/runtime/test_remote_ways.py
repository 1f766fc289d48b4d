"""The way to a server elsewhere: https by an authority of one's own, and proxies of the environment."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from corral.api.engines import transport
from corral.api.engines.connection import Connections
from corral.api.engines.exchange import watchful_socket
from corral.runtime.errors import RemoteFailed
from corral.runtime.remote import failover
from corral.runtime.settings import Settings
from corral.runtime.workbench import Workbench
from tests.certificates import certified
from tests.fakes.proxy import proxy
from tests.fakes.upstream import upstreams
from tests.unit.runtime.stubs import answer, question, stub

NAME = "engine.test"
"""A name that no network knows: only a proxy finds it."""
WORDS = "one two three "


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    transport._trust.cache_clear()


@asynccontextmanager
async def workbench(folder: Path) -> AsyncIterator[Workbench]:
    settings = Settings(models=folder / "models", remotes=("127.0.0.1", "::1", NAME))
    bench = Workbench(settings, warm=False, connect=Connections())
    await bench.start()
    try:
        yield bench
    finally:
        await bench.close()
        transport._trust.cache_clear()


async def test_a_server_is_known_by_the_authority_that_ssl_cert_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certified(tmp_path, "authority.test", "10.0.0.1")
    tls = certified(tmp_path, NAME, "127.0.0.1", authority).server_tls()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert_file))
    async with upstreams(1, tls=tls) as (server,), workbench(tmp_path) as bench:
        await stub(bench, server)
        assert (await answer(bench, question()))[0] == WORDS


async def test_a_server_that_nobody_vouches_for_is_not_asked_and_the_error_says_why(tmp_path: Path) -> None:
    tls = certified(tmp_path, NAME, "127.0.0.1").server_tls()
    async with upstreams(1, tls=tls) as (server,), workbench(tmp_path) as bench:
        await stub(bench, server)
        with pytest.raises(RemoteFailed, match=r"certificate.*SSL_CERT_FILE"):
            await answer(bench, question())
        assert not server.asked


async def test_a_server_may_have_an_ipv6_address(tmp_path: Path) -> None:
    async with upstreams(1, name="[::1]") as (server,), workbench(tmp_path) as bench:
        await stub(bench, server)
        assert (await answer(bench, question()))[1].remote_host == server.url


async def test_the_system_notices_that_a_machine_is_gone_long_before_an_answer_is_late() -> None:
    with watchful_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("", 0))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        idle_s, every_s, times, unsent_ms = (made.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    assert idle_s + every_s * times == unsent_ms / 1000 == 25


async def test_a_proxy_of_the_environment_is_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy() as between, upstreams(1, name=NAME) as (server,), workbench(tmp_path) as bench:
        monkeypatch.setenv("HTTP_PROXY", between.url)
        await stub(bench, server)
        assert (await answer(bench, question()))[0] == WORDS
        assert between.asked[0].startswith(f"GET {server.url}/")


async def test_https_goes_through_a_tunnel_of_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certified(tmp_path, NAME, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.cert_file))
    async with (
        proxy() as between,
        upstreams(1, name=NAME, tls=made.server_tls()) as (server,),
        workbench(tmp_path) as bench,
    ):
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        await stub(bench, server)
        assert (await answer(bench, question()))[0] == WORDS
        assert between.asked
        assert {line.split()[:2] == ["CONNECT", f"{NAME}:{server.port}"] for line in between.asked} == {True}


@pytest.mark.parametrize(("name", "exempt"), [("127.0.0.1", ""), (NAME, NAME), (NAME, "*"), (NAME, ".test")])
async def test_no_proxy_stands_before_this_machine_and_what_no_proxy_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, exempt: str
) -> None:
    async with proxy() as between, upstreams(1, name=name) as (server,), workbench(tmp_path) as bench:
        monkeypatch.setenv("HTTP_PROXY", between.url)
        if exempt:
            monkeypatch.setenv("NO_PROXY", exempt)
        await stub(bench, server)
        if exempt:
            monkeypatch.setattr(failover, "PAUSES_S", ())
            with pytest.raises(RemoteFailed, match="does not answer"):
                await answer(bench, question())
        else:
            assert (await answer(bench, question()))[0] == WORDS
        assert not between.asked
