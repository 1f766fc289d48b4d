"""What of a stranger's manifest is believed."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from corral.store.errors import DigestMismatch, NoSpace, SourceError
from corral.store.sources.registry import RegistrySource
from tests.fakes.registry import DOCKER, FakeRegistry, digest_of
from tests.unit.store.pulling import pull
from tests.unit.store.stocked import Stocked

CONFIG = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "a" * 64, "size": 5}
LAYER = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "b" * 64, "size": 5}
HOSTILE = {
    "no json": b"<html>",
    "bom": b"\xef\xbb\xbf{}",
    "null": b"null",
    "nothing": b"{}",
    "layers null": json.dumps({"config": CONFIG, "layers": None}).encode(),
    "empty layer": json.dumps({"config": CONFIG, "layers": [{}]}).encode(),
    "no config": json.dumps({"layers": [LAYER]}).encode(),
    "nested": b"[" * 100_000,
    "too long": b" " * (5 << 20),
    "many layers": json.dumps({"config": CONFIG, "layers": [LAYER] * 20_001}).encode(),
    "negative": json.dumps({"config": CONFIG, "layers": [{**LAYER, "size": -1}]}).encode(),
    "huge": json.dumps({"config": CONFIG, "layers": [{**LAYER, "size": 2**63}]}).encode(),
    "text size": json.dumps({"config": CONFIG, "layers": [{**LAYER, "size": "5"}]}).encode(),
    "two sizes": json.dumps({"config": CONFIG, "layers": [LAYER, {**LAYER, "size": 6}]}).encode(),
    "large text": json.dumps(
        {
            "config": CONFIG,
            "layers": [{**LAYER, "mediaType": "application/vnd.ollama.image.template", "size": 1 << 40}],
        }
    ).encode(),
    "no model": json.dumps({"config": CONFIG, "layers": [{**LAYER, "mediaType": "application/x-tar"}]}).encode(),
    **{
        f"{where} {digest!r}": json.dumps(
            {
                "config": {**CONFIG, **({"digest": digest} if where == "config" else {})},
                "layers": [{**LAYER, **({"digest": digest} if where == "layer" else {})}],
            }
        ).encode()
        for where in ("config", "layer")
        for digest in (
            "../../../../tmp/pwn",
            "sha256:../..",
            "sha256:" + "a" * 63,
            "sha256:" + "a" * 65,
            "sha256:" + "a" * 64 + "\n",
            "md5:" + "a" * 32,
        )
    },
}


@pytest.mark.parametrize("manifest", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_manifests_are_refused(
    source: RegistrySource, registry: FakeRegistry, store: Stocked, manifest: bytes
) -> None:
    registry.manifests["library/tiny:latest"] = manifest
    with pytest.raises(SourceError):
        await pull(source, registry)
    assert registry.blob_requests() == []
    assert store.files() == set()


async def test_a_shared_digest_is_checked(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    same = {**LAYER, "digest": digest_of(b"right"), "mediaType": CONFIG["mediaType"]}
    registry.blobs[digest_of(b"right")] = b"wrong"
    body = {"config": same, "layers": [{**same, "mediaType": LAYER["mediaType"]}]}
    registry.manifests["library/tiny:latest"] = json.dumps(body).encode()
    with pytest.raises(DigestMismatch):
        await pull(source, registry)
    assert store.files() == set()


async def test_what_does_not_fit_is_not_begun(source: RegistrySource, registry: FakeRegistry, store: Stocked) -> None:
    body = {"config": CONFIG, "layers": [{**LAYER, "size": 1 << 60}]}
    registry.manifests["library/tiny:latest"] = json.dumps(body).encode()
    with pytest.raises(NoSpace, match="not enough disk space"):
        await pull(source, registry)
    assert registry.blob_requests() == []


async def test_a_manifest_that_is_not_its_digest(source: RegistrySource, store: Stocked) -> None:

    class Lying(FakeRegistry):
        async def _manifest(self, request: web.Request, name: str) -> web.StreamResponse:
            headers = {"Docker-Content-Digest": "sha256:" + "0" * 64}
            return web.Response(body=self.manifests[name], content_type=DOCKER, headers=headers)

    async with Lying().served() as registry:
        registry.add("library/tiny:latest", b"x")
        with pytest.raises(SourceError, match="the manifest is not sha256:0000"):
            await pull(source, registry)
    assert store.files() == set()
