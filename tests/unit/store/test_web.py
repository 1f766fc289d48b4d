"""What a server may lead us to."""

from __future__ import annotations

import pytest

from corral.store.addresses import origin_of
from corral.store.errors import SourceError
from corral.store.names import ModelName
from corral.store.registries import Registries
from corral.store.retry import Again, Patience
from corral.store.sources.registry import RegistrySource
from corral.store.web import Web, check_target
from tests.fakes.registry import FakeRegistry
from tests.unit.store.stocked import Stocked

WORLD, HOME, SELF = "https://1.1.1.1/v2/", "http://192.168.1.5:5000/v2/", "http://127.0.0.1:5000/v2/"


@pytest.mark.parametrize(
    ("start", "target"),
    [
        (WORLD, "https://8.8.8.8/blob"),
        (WORLD, "https://[2606:4700::1111]/blob"),
        (HOME, "http://192.168.1.6:9000/blob"),
        (HOME, "https://8.8.8.8/blob"),
        (SELF, "http://localhost:9000/blob"),
        (SELF, "http://10.0.0.3/blob"),
    ],
)
async def test_a_wider_world_may_be_led_to(start: str, target: str) -> None:
    await check_target(start, target)


@pytest.mark.parametrize(
    ("start", "target"),
    [
        (WORLD, "https://127.0.0.1/x"),
        (WORLD, "https://127.1/x"),
        (WORLD, "https://2130706433/x"),
        (WORLD, "https://0x7f000001/x"),
        (WORLD, "https://0.0.0.0/x"),
        (WORLD, "https://[::1]/x"),
        (WORLD, "https://[::ffff:127.0.0.1]/x"),
        (WORLD, "https://[::ffff:10.0.0.1]/x"),
        (WORLD, "https://localhost/x"),
        (WORLD, "https://a.localhost/x"),
        (WORLD, "https://10.1.2.3/x"),
        (WORLD, "https://192.168.0.1/x"),
        (WORLD, "http://8.8.8.8/x"),
        (HOME, "http://127.0.0.1/x"),
        (SELF, "http://169.254.169.254/latest/meta-data"),
        (SELF, "http://[fe80::1]/x"),
        (SELF, "file:///etc/passwd"),
        (SELF, "ftp://8.8.8.8/x"),
        (SELF, "http://me@8.8.8.8/x"),
        (SELF, "http://8.8.8.8:99999/x"),
        (SELF, "http:///x"),
    ],
)
async def test_a_closer_world_may_not_be_led_to(start: str, target: str) -> None:
    with pytest.raises(SourceError):
        await check_target(start, target)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://A.example/x") == origin_of("https://a.example:443/y?z") == ("https", "a.example", 443)


async def test_redirects_end() -> None:
    async with FakeRegistry().served() as registry:
        registry.blobs["sha256:1"] = b"x"
        registry.elsewhere = f"{registry.base}"
        web = Web()
        with pytest.raises(SourceError, match="redirects without end"):
            async with web.open("GET", f"{registry.base}/v2/a/b/blobs/sha256:1", {}):
                pass
        assert len(registry.seen) == 11
        with pytest.raises(Again, match="cannot be reached"):
            async with web.open("GET", "http://127.0.0.1:9/", {}):
                pass
        await web.close()


async def test_a_blob_that_is_redirected_inwards_is_not_fetched(store: Stocked) -> None:
    async with FakeRegistry().served() as registry:
        registry.add("library/tiny:latest", b"weights")
        registry.elsewhere = "http://169.254.169.254"
        source = RegistrySource(store.blobs, Registries(), patience=Patience(tries=2, first_s=0.001))
        with pytest.raises(SourceError, match="link-local"):
            async for _ in source.pull(f"{registry.base}/library/tiny", insecure=True):
                pass
        await source.close()
    assert not any(store.manifests.names())
    assert store.manifests.locate(ModelName.parse("tiny")) is None
