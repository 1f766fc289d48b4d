"""A registry that means harm: nothing is written outside of the store, nothing unverified is seen, no secret leaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from corral.store.errors import DigestMismatch, SourceError
from corral.store.registries import Identity, Registries
from corral.store.sources.registry import RegistrySource
from tests.fakes.registry import FakeRegistry, digest_of
from tests.unit.store.pulling import HASTE, SMALL, WEIGHTS, pull
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import check_whole

BOMB = gzip.compress(bytes(64 << 20))
MEBIBYTE = 1 << 20


@dataclass
class Hostile(FakeRegistry):
    """Answers in its own way to what one of "manifest", "token" and "blob" is asked for."""

    ways: dict[str, Way] = field(default_factory=dict)
    other: FakeRegistry = field(default_factory=FakeRegistry)
    asked: int = 0

    async def _manifest(self, request: web.Request, name: str) -> web.StreamResponse:
        return await (self._in_its_way("manifest", request) or super()._manifest(request, name))

    async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        return await (self._in_its_way("blob", request) or super()._blob(request, digest))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        answer = self._in_its_way("token", request) if request.path.startswith("/token") else None
        if answer is not None:
            await super()._handle(request)  # which notes it
            return await answer
        return await super()._handle(request)

    def _in_its_way(self, what: str, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        if what not in self.ways:
            return None
        self.asked += 1
        return self.ways[what](self, request)


Way = Callable[[Hostile, web.Request], Awaitable[web.StreamResponse]]


def says(status: int, body: bytes = b"", **headers: str) -> Way:
    """One answer to everything; in headers `{other}` is the address of the other host, `{base}` the own."""

    async def way(registry: Hostile, request: web.Request) -> web.StreamResponse:
        filled = {
            name.replace("_", "-"): value.format(other=registry.other.base, base=registry.base)
            for name, value in headers.items()
        }
        return web.Response(status=status, body=body, headers=filled)

    return way


def endless(status: int = 200) -> Way:
    async def way(registry: Hostile, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 512 * MEBIBYTE:
                await response.write(b"[" * MEBIBYTE)
                sent += MEBIBYTE
        assert sent < 64 * MEBIBYTE, "it was read for ever"
        return response

    return way


def ranged(content_range: str, body: Callable[[int, int], bytes] = lambda first, end: WEIGHTS[first:end]) -> Way:
    """An answer to a range; the texts say what of it is a lie."""

    async def way(registry: Hostile, request: web.Request) -> web.StreamResponse:
        first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
        size = len(registry.blobs[request.path.rpartition("/")[2]])
        start, end = int(first), min(int(last) + 1, size)
        said = content_range.format(first=first, last=end - 1, next=start + 1, size=size, more=size + 1)
        return web.Response(status=206, body=body(start, end), headers={"Content-Range": said} if said else {})

    return way


async def short_of_what_it_says(registry: Hostile, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


RIGHT = "bytes {first}-{last}/{size}"
ESCAPES = json.dumps({"errors": [{"message": "\x1b]52;c;eA==\x07\x1b[2J" + "long " * 10_000}]}).encode()
CHALLENGE = 'Bearer realm="{{{}}}/token",service="s",scope="repository:library/tiny:pull"'
FAILING: dict[str, dict[str, Way]] = {
    "manifest without end": {"manifest": endless()},
    "error without end": {"manifest": endless(403)},
    "manifest packed into a bomb": {"manifest": says(200, BOMB, Content_Encoding="gzip")},
    "manifest of html": {"manifest": says(200, b"<html>" * 100_000)},
    "manifest shorter than said": {"manifest": short_of_what_it_says},
    "manifest 500 for ever": {"manifest": says(500, b"<h1>no</h1>")},
    "manifest 401 without a way in": {"manifest": says(401)},
    "manifest 401 for ever": {"manifest": says(401, WWW_Authenticate=CHALLENGE.format("base"))},
    "manifest 404": {"manifest": says(404, b"<h1>" + b"x" * 1_000_000)},
    "escapes in an error": {"manifest": says(403, ESCAPES)},
    "led without a place": {"manifest": says(302)},
    "led in a circle": {"manifest": says(302, Location="{base}/v2/library/tiny/manifests/latest")},
    "led to a file": {"manifest": says(302, Location="file:///etc/passwd")},
    "led with a password": {"manifest": says(302, Location="http://ada:secret@localhost/")},
    "led to the cloud's keys": {"manifest": says(302, Location="http://169.254.169.254/latest/meta-data")},
    "led to the cloud's keys in IPv6": {"manifest": says(302, Location="http://[::ffff:169.254.169.254]/")},
    "token without end": {"token": endless()},
    "token of html": {"token": says(200, b"<html>")},
    "token with a header in it": {"token": says(200, b'{"token":"a\\r\\nX-Evil: 1"}')},
    "token of a megabyte": {"token": says(200, json.dumps({"token": "a" * MEBIBYTE}).encode())},
    "token from a file": {"manifest": says(401, WWW_Authenticate='Bearer realm="file:///etc/passwd"')},
    "token from the cloud": {"manifest": says(401, WWW_Authenticate='Bearer realm="http://169.254.169.254/token"')},
    "token from who has a password": {"manifest": says(401, WWW_Authenticate='Bearer realm="http://a:b@localhost/"')},
    "token from elsewhere that does not hold": {
        "manifest": says(401, WWW_Authenticate=CHALLENGE.format("other")),
    },
    "token led elsewhere": {
        "manifest": says(401, WWW_Authenticate=CHALLENGE.format("base")),
        "token": says(307, Location="{other}/token"),
    },
    "password asked for after a token": {"manifest": says(401, WWW_Authenticate='Basic realm="x"')},
    "range that begins later": {"blob": ranged("bytes {next}-{last}/{size}")},
    "range of a larger file": {"blob": ranged("bytes {first}-{last}/{more}")},
    "range of no sense": {"blob": ranged("lots")},
    "range that is not said": {"blob": ranged("")},
    "range not satisfiable": {"blob": says(416)},
    "whole but shorter": {"blob": says(200, WEIGHTS[:-1])},
    "whole but longer": {"blob": says(200, WEIGHTS + b"!")},
    "another file": {"blob": ranged(RIGHT, lambda first, end: bytes(end - first))},
    "one bit": {"blob": ranged(RIGHT, lambda first, end: bytes([WEIGHTS[first] ^ 1]) + WEIGHTS[first + 1 : end])},
    "less than the range": {"blob": ranged(RIGHT, lambda first, end: b"")},
    "blob packed into a bomb": {"blob": says(200, BOMB, Content_Encoding="gzip")},
    "blob 403 in html": {"blob": says(403, b"<html>\x1b[2J" * 1000)},
    "blob led to a file": {"blob": says(307, Location="file:///etc/passwd")},
    "blob led in a circle": {"blob": says(307, Location="{base}/v2/library/tiny/blobs/sha256:0")},
    "blob led to who has not got it": {"blob": says(307, Location="{other}/v2/library/tiny/blobs/sha256:0")},
}
WORKING: dict[str, dict[str, Way]] = {
    "more than the range": {"blob": ranged(RIGHT, lambda first, end: WEIGHTS[first:])},
    "led to another host": {"blob": says(307, Location="{other}/v2/library/tiny/blobs/" + digest_of(WEIGHTS))},
    "manifest led to another host": {"manifest": says(307, Location="{other}/v2/library/tiny/manifests/latest")},
    "a cookie": {
        "blob": says(
            307, Location="{other}/v2/library/tiny/blobs/" + digest_of(WEIGHTS), Set_Cookie="session=1; Path=/"
        )
    },
}


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    """Another host, which has the model too and notes what it is told."""
    async with FakeRegistry().served("localhost") as other:
        other.add("library/tiny:latest", WEIGHTS)
        other.tokens = []
        yield other


@pytest.fixture
async def hostile(other: FakeRegistry) -> AsyncIterator[Hostile]:
    async with Hostile(other=other).served() as hostile:
        hostile.add("library/tiny:latest", WEIGHTS)
        hostile.tokens = ["t1"]
        yield hostile


@pytest.fixture
async def login(store: Stocked, hostile: Hostile, tmp_path: Path) -> AsyncIterator[RegistrySource]:
    """A source of a user who has secrets: a key, and a password for this registry."""
    docker = tmp_path / "config.json"
    secret = base64.b64encode(b"ada:lovelace").decode()
    docker.write_text(json.dumps({"auths": {hostile.base.removeprefix("http://"): {"auth": secret}}}))
    registries = Registries(identity=Identity(keys=tmp_path / "keys", docker_config=docker))
    source = RegistrySource(store.blobs, registries, patience=HASTE, pace=SMALL)
    yield source
    await source.close()


def around(store: Stocked, folder: Path) -> dict[str, str]:
    """Everything beside the store, by its content."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(store.paths.root))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kept_to_itself(hostile: Hostile) -> None:
    """The other host was told no secret, and got no cookie."""
    assert {one.authorization for one in hostile.other.seen} <= {""}
    assert {one.cookie for one in hostile.other.seen} <= {""}


def only_verified(store: Stocked) -> None:
    check_whole(store)
    for path in store.paths.blobs.glob("sha256-*"):
        assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("how", FAILING)
async def test_a_hostile_registry_gets_nowhere(
    login: RegistrySource, hostile: Hostile, store: Stocked, tmp_path: Path, how: str
) -> None:
    hostile.ways = FAILING[how]
    before, memory_kib = around(store, tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(20):
        with pytest.raises((SourceError, DigestMismatch)) as raised:
            await pull(login, hostile)
    assert hostile.asked or hostile.other.seen
    assert len(str(raised.value)) < 600
    assert str(raised.value).isprintable()
    assert "<h" not in str(raised.value)
    assert list(store.manifests.names()) == []
    only_verified(store)
    kept_to_itself(hostile)
    assert around(store, tmp_path) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < 48 << 10


@pytest.mark.parametrize("how", WORKING)
async def test_what_is_odd_and_harmless_works(
    login: RegistrySource, hostile: Hostile, store: Stocked, how: str
) -> None:
    only = WORKING[how]

    def but_the_config(way: Way) -> Way:
        async def chosen(registry: Hostile, request: web.Request) -> web.StreamResponse:
            if "/blobs/" in request.path and digest_of(WEIGHTS) not in request.path:
                return await FakeRegistry._blob(registry, request, request.path.rpartition("/")[2])
            return await way(registry, request)

        return chosen

    hostile.ways = {what: but_the_config(way) for what, way in only.items()}
    assert (await pull(login, hostile))[-1].status == "success"
    assert hostile.asked
    only_verified(store)
    kept_to_itself(hostile)


async def test_other_bytes_are_fetched_once_more(login: RegistrySource, hostile: Hostile, store: Stocked) -> None:
    """A wrong byte may be a proxy's, or come from a download before; twice the same is the registry's."""

    async def at_first(registry: Hostile, request: web.Request) -> web.StreamResponse:
        digest = request.path.rpartition("/")[2]
        if digest == digest_of(WEIGHTS) and "bytes=0-" in request.headers["Range"] and not registry.failures:
            registry.failures.append((0, "told"))
            return await ranged(RIGHT, lambda first, end: b"!" + WEIGHTS[1:end])(registry, request)
        kept, registry.failures = registry.failures, []
        try:
            return await FakeRegistry._blob(registry, request, digest)
        finally:
            registry.failures = kept

    hostile.ways = {"blob": at_first}
    assert (await pull(login, hostile))[-1].status == "success"
    only_verified(store)
    starts = [one.range.partition("-")[0] for one in hostile.blob_requests() if digest_of(WEIGHTS) in one.path]
    assert starts.count("bytes=0") == 2


async def test_a_wait_can_be_left_at_once(login: RegistrySource, hostile: Hostile) -> None:
    hostile.ways = {"manifest": says(429, Retry_After="60")}
    task = asyncio.create_task(pull(login, hostile))
    while not hostile.asked:
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


@pytest.mark.parametrize("kind", ["projector", "adapter", "tensor", "embed", "draft", "template", "of-tomorrow"])
async def test_a_digest_of_any_kind_of_layer_is_checked(
    login: RegistrySource, hostile: Hostile, store: Stocked, tmp_path: Path, kind: str
) -> None:
    before = around(store, tmp_path)
    for digest in ("../../../../tmp/pwn", "sha256:" + "../" * 21 + "x", "sha256:" + "A" * 63 + "/"):
        manifest = json.loads(hostile.manifests["library/tiny:latest"])
        media_type = f"application/vnd.ollama.image.{kind}"
        manifest["layers"].append({"mediaType": media_type, "digest": digest, "size": 3})
        hostile.manifests["library/tiny:latest"] = json.dumps(manifest).encode()
        with pytest.raises(SourceError):
            await pull(login, hostile)
    assert store.files() == set()
    assert around(store, tmp_path) == before
