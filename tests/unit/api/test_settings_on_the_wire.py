"""What settings do to a server, seen from outside: hurry, read-only, https, requests as files, reading again."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from corral.api.client import HttpClient
from corral.api.errors import SettingsRefused, TlsFailed
from corral.runtime.errors import RunError, ServerUnreachable
from corral.runtime.settings_change import SettingsChange
from corral.runtime.verbs import Caller, ChatRequest
from tests.certificates import certified
from tests.fakes.served import MODEL, Serve, Served, ServedFake


def callers(served: Served) -> list[Caller | None]:
    return [one.caller for one in served.fake.asked if isinstance(one, ChatRequest)]


@pytest.mark.parametrize(
    ("text", "priority", "warned"),
    [
        ("high", 1, False),
        ("Low", -1, False),
        ("normal", 0, False),
        ("2", 2, False),
        ("-2", -2, False),
        ("3", 0, True),
        ("urgent", 0, True),
        ("", 0, False),
    ],
)
def test_a_request_says_how_much_of_a_hurry_it_is_in(serve: Serve, text: str, priority: int, warned: bool) -> None:
    served = serve()
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": False}
    response = served.post("/api/chat", body, **{"X-Corral-Priority": text})
    assert response.status_code == 200
    (caller,) = callers(served)
    assert caller is not None
    assert caller.priority == priority
    assert ("X-Corral-Priority" in response.headers.get("X-Corral-Warnings", "")) is warned


def test_a_server_that_is_only_read(serve: Serve) -> None:
    served = serve(read_only=True)
    for method, path in (
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", f"/api/blobs/sha256:{'0' * 64}"),
    ):
        response = served.request(method, path, {"model": MODEL, "source": MODEL, "destination": "x"})
        assert (response.status_code, "read-only" in response.json()["error"]) == (403, True), path
    assert served.fake.models.keys() == {MODEL}
    assert served.fake.asked == []
    assert served.request("GET", "/api/tags").status_code == 200
    assert served.request("HEAD", f"/api/blobs/sha256:{'0' * 64}").status_code == 404
    assert served.post("/api/generate", {"model": MODEL, "prompt": "hi", "stream": False}).status_code == 200


def test_requests_as_files_that_repeat_them(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    served = serve(log_requests=True, base_url="http://127.0.0.1:1")
    body = {"model": MODEL, "prompt": 'it\'s "quoted" $HOME', "stream": False}
    assert served.post("/api/generate", body, Authorization="Bearer secret").status_code == 200
    assert served.post("/api/show", {"model": MODEL}).status_code == 200
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    script, kept = sorted(folder.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert (script.name, kept.name) == ("000001-api-generate.sh", "000001-api-generate.json")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (script, kept)] == [0o700, 0o600]
    assert json.loads(kept.read_text()) == body
    assert "secret" not in script.read_text()
    script.write_text(script.read_text().replace("http://127.0.0.1:1", served.service.base_url))
    done = subprocess.run([script], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["done"] is True


def test_reading_the_settings_again(serve: Serve) -> None:
    fake = ServedFake.with_models(MODEL)
    fake.change = SettingsChange(("keep_alive_s",), ("origins",), ("careful",))
    served = serve(fake)

    async def ask() -> SettingsChange:
        client = HttpClient(served.service.base_url)
        try:
            return await client.reload_settings()
        finally:
            await client.close()

    assert asyncio.run(ask()) == fake.change


def test_a_file_with_mistakes_serves_nothing(serve: Serve) -> None:
    with pytest.raises(SettingsRefused, match=r"config\.toml:3"):
        serve(faults=("config.toml:3: bad", "config.toml:4: bad"))


def test_why_there_are_no_models_elsewhere(serve: Serve) -> None:
    response = serve(cloud_source="both").request("GET", "/api/status")
    assert response.json() == {"cloud": {"disabled": True, "source": "both"}}


MakeCertificate = Callable[..., tuple[Path, Path]]


@pytest.fixture
def certificate(tmp_path: Path) -> MakeCertificate:
    """Make a certificate signed by itself, and its key, as files."""

    def make(name: str = "localhost") -> tuple[Path, Path]:
        made = certified(tmp_path, name, "10.0.0.1")
        return made.cert_file, made.key_file

    return make


async def version_of(url: str, trusted: Path | None) -> str:
    client = HttpClient(url, trusted=trusted)
    try:
        return await client.version()
    finally:
        await client.close()


def test_https(serve: Serve, certificate: MakeCertificate) -> None:
    cert, key = certificate()
    served = serve(tls_cert=cert, tls_key=key)
    assert served.service.base_url == f"https://127.0.0.1:{served.port}"
    assert asyncio.run(version_of(served.service.base_url, cert)) == asyncio.run(served.fake.version())
    with pytest.raises(ServerUnreachable):
        asyncio.run(version_of(served.service.base_url, None))
    with pytest.raises(ServerUnreachable):
        asyncio.run(version_of(served.service.base_url, certificate("other")[0]))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{served.port}/api/version", trust_env=False)
    context = ssl.create_default_context(cafile=cert)
    answer = httpx.get(f"https://localhost:{served.port}/api/version", trust_env=False, verify=context)
    assert answer.status_code == 200


def test_https_with_both_in_one_file(serve: Serve, certificate: MakeCertificate) -> None:
    cert, key = certificate()
    cert.write_bytes(cert.read_bytes() + key.read_bytes())
    served = serve(tls_cert=cert)
    assert asyncio.run(version_of(served.service.base_url, cert)) == asyncio.run(served.fake.version())


def test_certificates_that_cannot_be_used(serve: Serve, certificate: MakeCertificate, tmp_path: Path) -> None:
    cert, key = certificate()
    other = certificate("other")[1]
    with pytest.raises(TlsFailed, match=r"none\.pem"):
        serve(tls_cert=cert, tls_key=tmp_path / "none.pem")
    with pytest.raises(TlsFailed, match="cannot use the certificate"):
        serve(tls_cert=cert, tls_key=other)
    with pytest.raises(TlsFailed, match="cannot use the certificate"):
        serve(tls_cert=key)
    with pytest.raises(RunError, match="cannot read certificates"):
        asyncio.run(version_of("https://localhost:1", tmp_path / "none.pem"))
