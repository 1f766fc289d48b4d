"""Operations killed, starved and refused at their calls to the system: a hundred places of them all.

`make torture` takes every place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry
from tests.tracing import StoreProcess, needs_strace
from tests.unit.store.survival import Proving, sampled

pytestmark = needs_strace

SHARE = {
    "pull": 24,
    "create": 28,
    "copy": 16,
    "delete": 11,
    "trash": 8,
    "restore": 8,
    "empty": 6,
    "prune": 11,
    "import": 10,
}


@pytest.fixture
async def proving(tmp_path: Path) -> AsyncIterator[Proving]:
    async with FakeRegistry().served() as registry, StoreProcess.started() as process:
        yield Proving(tmp_path, process, registry)


@pytest.mark.parametrize("operation", SHARE)
async def test_a_disturbed_operation_breaks_and_loses_nothing(proving: Proving, operation: str) -> None:
    points = await proving.points(operation)
    chosen = sampled(points, SHARE[operation])
    assert len(chosen) == SHARE[operation]
    for point in chosen:
        await proving.prove(operation, point)
