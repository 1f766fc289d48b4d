from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from corral.api.server import Service
from corral.runtime.settings import Settings
from tests.fakes.served import MODEL, Serve, Served, ServedFake, Until
from tests.waiting import block_until


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start services; every one is stopped at the end."""
    services: list[Service] = []

    def start(fake: ServedFake | None = None, **changes: Any) -> Served:
        fake = fake or ServedFake.with_models(MODEL)
        settings = replace(Settings(models=Path("/nonexistent"), listen_port=0), **changes)
        service = Service(settings, workbench=lambda _: fake)
        service.start()
        services.append(service)
        return Served(fake, service)

    yield start
    for service in services:
        service.stop(drain_s=0)


@pytest.fixture
def served(serve: Serve) -> Served:
    """A service on a fake workbench with one model."""
    return serve()


@pytest.fixture
def until() -> Until:
    """Wait for a condition that another thread makes true."""
    return block_until
