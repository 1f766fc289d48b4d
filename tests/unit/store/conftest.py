from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.store.registries import Registries
from corral.store.sources.registry import RegistrySource
from tests.fakes.registry import FakeRegistry
from tests.unit.store.pulling import HASTE, SMALL, WEIGHTS
from tests.unit.store.stocked import Stocked


@pytest.fixture
def store(tmp_path: Path) -> Stocked:
    """An empty store that does not even have its folder yet."""
    return Stocked(tmp_path / "models")


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """A registry that has `library/tiny:latest`."""
    async with FakeRegistry().served() as registry:
        registry.add("library/tiny:latest", WEIGHTS)
        yield registry


@pytest.fixture
async def source(store: Stocked) -> AsyncIterator[RegistrySource]:
    source = RegistrySource(store.blobs, Registries(), patience=HASTE, pace=SMALL)
    yield source
    await source.close()
