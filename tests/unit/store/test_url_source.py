from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp import web

from corral.store.errors import SourceError
from corral.store.registries import Registries
from corral.store.retry import Patience
from corral.store.sources import Fetched
from corral.store.sources.registry import RegistrySource
from corral.store.sources.url import is_file_url
from corral.store.transfer import Pace
from tests.fakes.registry import FakeRegistry
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked

FILE = bytes(Gguf()) + bytes(200_000)
HASTE = Patience(tries=4, first_s=0.001, longest_s=0.002, stall_s=10.0)
SMALL = Pace(connections=4, request=64_000, least_split=16_000, write=16_000)


class Site(FakeRegistry):
    """A host with files."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        return await self._blob(request, request.path)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(blobs={"/ada/Tiny-1K.Q4_K_M.gguf": FILE}).served() as site:
        yield site


@pytest.fixture
async def source(store: Stocked) -> AsyncIterator[RegistrySource]:
    source = RegistrySource(store.blobs, Registries(), patience=HASTE, pace=SMALL)
    yield source
    await source.close()


async def fetch(source: RegistrySource, url: str, store: Stocked) -> Fetched:
    async with aclosing(source.url_source().fetch(url, store.blobs)) as items:
        async for item in items:
            if isinstance(item, Fetched):
                return item
    raise AssertionError("nothing came")


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_file_becomes_a_blob(source: RegistrySource, site: Site, store: Stocked, ranges: bool) -> None:
    site.ranges = ranges
    site.cuts = [50_000]
    fetched = await fetch(source, f"{site.base}/ada/Tiny-1K.Q4_K_M.gguf?download=true", store)
    assert store.files() == {store.blob_file(FILE)}
    assert (fetched.name.short, fetched.size) == ("tiny:1k", len(FILE))


async def test_what_is_no_model_is_not_kept(source: RegistrySource, site: Site, store: Stocked) -> None:
    site.blobs["/x.gguf"] = b"<html>" * 1000
    with pytest.raises(SourceError, match=r"x\.gguf: not a GGUF file"):
        await fetch(source, f"{site.base}/x.gguf", store)
    with pytest.raises(SourceError, match="file does not exist"):
        await fetch(source, f"{site.base}/y.gguf", store)
    assert store.files() == set()


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("https://a.example/x/Model.GGUF", True),
        ("http://a.example/x.gguf?download=true", True),
        ("https://a.example/library/model:tag", False),
        ("hf.co/a/b.gguf", False),
        ("./x.gguf", False),
        ("pypi:x", False),
    ],
)
def test_which_texts_are_files(text: str, is_file: bool) -> None:
    assert is_file_url(text) is is_file
