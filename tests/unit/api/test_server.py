from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from corral.api.errors import CannotListen, PortTaken
from corral.api.headless import run_headless
from corral.api.http import HttpServer
from corral.api.listen import bind, free_port
from corral.api.server import Service
from corral.runtime.settings import Settings
from tests.fakes.served import MODEL, Served, ServedFake


def service_on(port: int, host: str = "127.0.0.1") -> Service:
    settings = Settings(models=Path("/nonexistent"), listen_host=host, listen_port=port)
    return Service(settings, workbench=lambda _: ServedFake.with_models(MODEL))


def test_address(served: Served) -> None:
    assert served.service.address == f"127.0.0.1:{served.port}"
    assert served.fake.serving == served.service.address
    assert served.service.base_url == f"http://127.0.0.1:{served.port}"


def test_a_port_another_corral_has(served: Served) -> None:
    with pytest.raises(PortTaken) as caught:
        service_on(served.port).start()
    error = caught.value
    assert (error.host, error.port, error.answers) == ("127.0.0.1", served.port, True)
    assert error.by.startswith("another Corral")
    assert f"process {os.getpid()}" in error.by
    assert str(error) == f"address 127.0.0.1:{served.port} is in use by {error.by}"


def test_a_port_somebody_else_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            service_on(port).start()
        assert not caught.value.answers
        assert f"process {os.getpid()}" in caught.value.by
        other_port = free_port("127.0.0.1", port)
        assert port < other_port
        bind("127.0.0.1", other_port).close()


class SlowFake(ServedFake):
    """A workbench that takes its time to start; `starting` and `may_start` are the beginning and the end of that."""

    starting = threading.Event()
    may_start = threading.Event()

    async def start(self, serving: str = "") -> None:
        self.starting.set()
        while not self.may_start.is_set():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("waits_for", ["loop", "start"])
def test_an_interrupt_while_it_starts_ends_it(waits_for: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SlowFake.with_models(MODEL)
    assert isinstance(fake, SlowFake)
    fake.starting.clear()
    fake.may_start.clear()
    service = Service(Settings(models=Path("/nonexistent"), listen_port=0), workbench=lambda _: fake)

    def interrupted(self: Future[None], timeout: float | None = None) -> None:
        if waits_for == "start":
            fake.starting.wait(10)
        fake.may_start.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    before, began = set(threading.enumerate()), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        service.start()
    assert time.monotonic() - began < 20
    assert fake.ended
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "corral-service"]


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_cannot_be_listened_on(host: str) -> None:
    settings = Settings(models=Path("/x"), listen_host=host, listen_port=0, api_key="k")
    with pytest.raises(CannotListen, match="cannot listen on"):
        Service(settings).start()


def test_ipv6(served: Served) -> None:
    service = service_on(0, "::1")
    try:
        service.start()
    except CannotListen:
        assert not socket.has_dualstack_ipv6()
        return
    assert service.address.startswith("[::1]:")
    service.stop(drain_s=0)


def test_without_a_socket() -> None:
    fake = ServedFake.with_models(MODEL)
    service = Service(Settings(models=Path("/x")), serving=False, workbench=lambda _: fake)
    service.start()
    assert (service.address, service.base_url, fake.serving) == ("", "", "")
    assert service.client is fake
    service.stop()
    assert fake.ended
    service.stop()


def test_a_workbench_that_does_not_start(tmp_path: Path) -> None:
    class Broken(ServedFake):
        async def start(self, serving: str = "") -> None:
            raise OSError("no disk")

    service = Service(Settings(models=tmp_path, listen_port=0), workbench=lambda _: Broken())
    with pytest.raises(OSError, match="no disk"):
        service.start()


def test_a_start_that_fails_says_why_though_its_loop_ends_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ServedFake):
        async def start(self, serving: str = "") -> None:
            raise OSError("no disk")

    service = Service(Settings(models=tmp_path, listen_port=0), workbench=lambda _: Broken())
    result = Future.result

    def late(self: Future[None], timeout: float | None = None) -> None:
        assert service._thread is not None
        service._thread.join()
        monkeypatch.setattr(service.loop, "is_closed", lambda: False)  # as it was a moment before
        result(self, timeout)

    monkeypatch.setattr(Future, "result", late)
    with pytest.raises(OSError, match="no disk"):
        service.start()
    service.stop_now()


@pytest.mark.parametrize("turns", range(5))
async def test_who_connects_while_it_ends_is_let_go(turns: int) -> None:
    with bind("127.0.0.1", 0) as listener:
        server = HttpServer(Settings(models=Path("/nonexistent")), listener)
        await server.start(ServedFake.with_models(MODEL))
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.drain(0, asyncio.Event())
            await server.close()
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""


def test_neither_client_nor_socketless_service_loads_the_http_server() -> None:
    code = (
        "import sys; import corral.api.client, corral.api.server, corral.api.headless; "
        "print([m for m in ('aiohttp', 'httpx', 'pydantic', 'textual', 'llama_cpp', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_serving_loads_no_screen_and_no_engine() -> None:
    code = (
        "import sys; import corral.api.http, corral.runtime.workbench; "
        "print([m for m in ('textual', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def headless(service: Service) -> int:
    return run_headless(Settings(models=Path("/x")), service)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_headless_until_a_signal(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as soon as the address is told."""

    class Heard(io.StringIO):
        def flush(self) -> None:
            signal.raise_signal(number)

    service = service_on(0)
    heard = Heard()
    monkeypatch.setattr(sys, "stderr", heard)
    gc.unfreeze()
    with contextlib.ExitStack() as before:
        # A worker of these tests must not be what is ended where nobody hears it.
        before.callback(signal.signal, number, signal.signal(number, lambda *_: pytest.fail("nobody heard it")))
        assert headless(service) == 0
    assert gc.get_freeze_count() > 10_000  # which no collection walks again
    gc.unfreeze()
    assert heard.getvalue().startswith(f"Listening on {service.address} (version ")


def test_headless_says_why_it_cannot(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(service_on(served.port)) == 69
    assert "is in use by another Corral" in capsys.readouterr().err
    assert headless(service_on(0, "0.0.0.0")) == 78
    assert "Error: refusing to listen on 0.0.0.0 without an API key" in capsys.readouterr().err
