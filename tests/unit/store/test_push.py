from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from corral.store.errors import ModelNotFound, SourceError
from corral.store.names import Digest, ModelName
from corral.store.progress import Progress
from corral.store.push import Pusher
from corral.store.registries import Identity, Registries
from corral.store.registry_auth import Login
from corral.store.retry import Patience
from corral.store.web import Refused, Web
from tests.fakes.registry import FakeRegistry, digest_of
from tests.unit.store.stocked import Stocked

WEIGHTS = random.Random(2).randbytes(100_000)
HASTE = Patience(tries=4, first_s=0.001, longest_s=0.002, stall_s=10.0)


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().served() as registry:
        yield registry


@pytest.fixture
def pusher(store: Stocked) -> Pusher:
    return Pusher(store.blobs, Registries(), patience=HASTE, part_bytes=30_000)


def stocked(store: Stocked, registry: FakeRegistry) -> str:
    name = f"{registry.base.removeprefix('http://')}/ada/tiny:1"
    store.model(name, WEIGHTS, b"template")
    return f"http://{name}"


async def push(pusher: Pusher, name: str) -> list[Progress]:
    return [step async for step in pusher.push(name, insecure=True)]


def arrived(store: Stocked, registry: FakeRegistry, name: str) -> bool:
    parsed = ModelName.parse(name)
    assert registry.manifests["ada/tiny:1"] == store.manifests.read_bytes(parsed)
    digests = store.manifests.read(parsed).digests
    return {str(digest) for digest in digests} <= set(registry.blobs) and registry.blobs[digest_of(WEIGHTS)] == WEIGHTS


async def test_a_push_tells_what_ollama_tells(pusher: Pusher, registry: FakeRegistry, store: Stocked) -> None:
    name = stocked(store, registry)
    steps = await push(pusher, name)
    statuses = list(dict.fromkeys(step.status for step in steps))
    assert statuses[:2] == ["retrieving manifest", f"pushing {digest_of(WEIGHTS)[7:19]}"]
    assert statuses[-2:] == ["pushing manifest", "success"]
    assert len(statuses) == 6
    layers = {step.digest: step.total for step in steps if step.digest}
    assert {(step.whole, step.parts) for step in steps if step.digest} == {(sum(layers.values()), len(layers))}
    assert arrived(store, registry, name)
    assert [one.method for one in registry.seen].count("PATCH") == 4 + 2


async def test_what_the_registry_has_is_not_sent(pusher: Pusher, registry: FakeRegistry, store: Stocked) -> None:
    name = stocked(store, registry)
    registry.blobs[digest_of(WEIGHTS)] = WEIGHTS
    steps = await push(pusher, name)
    assert [one.method for one in registry.seen].count("PATCH") == 2
    (bar,) = {(step.completed, step.total) for step in steps if step.digest == digest_of(WEIGHTS) and step.completed}
    assert bar == (len(WEIGHTS), len(WEIGHTS))
    assert arrived(store, registry, name)


async def test_uploads_that_break_are_taken_up(pusher: Pusher, registry: FakeRegistry, store: Stocked) -> None:
    name = stocked(store, registry)
    registry.break_uploads = 2
    await push(pusher, name)
    assert len(registry.uploads) == 3  # one for each blob, none begun anew
    assert arrived(store, registry, name)


async def test_what_is_not_there_cannot_be_pushed(pusher: Pusher, registry: FakeRegistry, store: Stocked) -> None:
    name = stocked(store, registry)
    with pytest.raises(ModelNotFound):
        await push(pusher, "http://localhost/ada/nope")
    with pytest.raises(SourceError, match="insecure protocol http"):
        async for _ in pusher.push(name):
            pass
    store.paths.blob(Digest.parse(digest_of(WEIGHTS))).write_bytes(b"")
    with pytest.raises(SourceError, match="shorter than its manifest says"):
        await push(pusher, name)
    assert registry.manifests == {}


async def test_who_may_not_push_is_told(pusher: Pusher, registry: FakeRegistry, store: Stocked) -> None:
    name = stocked(store, registry)
    registry.tokens = ["t1"]
    registry.token_refuses = lambda authorization: True
    with pytest.raises(SourceError, match="push access denied: who are you"):
        await push(pusher, name)


@pytest.mark.parametrize("place", ["http://169.254.169.254/up", "file:///etc/passwd", "http://a:b@localhost/up"])
async def test_a_registry_does_not_choose_where_in_here_a_model_goes(
    store: Stocked, pusher: Pusher, place: str
) -> None:
    class Leading(FakeRegistry):
        async def _upload(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
            return web.Response(status=202, headers={"Location": place})

    async with Leading().served() as registry:
        with pytest.raises(SourceError):
            await push(pusher, stocked(store, registry))
        assert {one.method for one in registry.seen} == {"HEAD", "POST"}


async def test_a_place_to_send_to_elsewhere_learns_no_secret(store: Stocked, pusher: Pusher) -> None:
    async with FakeRegistry().served("localhost") as other:

        class Leading(FakeRegistry):
            async def _upload(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
                other.uploads["0"] = bytearray()
                return web.Response(status=202, headers={"Location": f"{other.base}/v2/a/b/blobs/uploads/0"})

        async with Leading(tokens=["t1"]).served() as registry:
            await push(pusher, stocked(store, registry))
            assert {one.authorization for one in registry.seen} == {"", "Bearer t1"}
        assert {one.authorization for one in other.seen} == {""}
        assert other.blobs[digest_of(WEIGHTS)] == WEIGHTS


async def test_a_registry_in_the_world_does_not_lead_us_to_services_in_here(tmp_path: Path) -> None:
    asking = Web()
    login = Login(asking, "http://1.1.1.1:5000", Identity(keys=tmp_path))
    async with FakeRegistry(tokens=["t1"]).served() as inside:
        refused = Refused(401, "", f'Bearer realm="{inside.base}/token"')
        with pytest.raises(SourceError, match="not public"):
            await login.answer(refused)
        assert inside.seen == []
    await asking.close()
