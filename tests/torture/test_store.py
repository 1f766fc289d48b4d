"""`make torture`: every place at which an operation on the store can be disturbed, and headers of all kinds."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry
from tests.tracing import StoreProcess, needs_strace
from tests.unit.store.mutated import read_mutated
from tests.unit.store.survival import Proving

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

HEADERS = int(os.environ.get("CORRAL_TORTURE_HEADERS", "100000"))
OPERATIONS = ("pull", "create", "copy", "delete", "trash", "restore", "empty", "prune", "import")


@pytest.fixture
async def proving(tmp_path: Path) -> AsyncIterator[Proving]:
    async with FakeRegistry().served() as registry, StoreProcess.started() as process:
        yield Proving(tmp_path, process, registry)


@needs_strace
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_nowhere_does_a_disturbed_operation_break_or_lose_anything(proving: Proving, operation: str) -> None:
    points = await proving.points(operation)
    for point in points:
        await proving.prove(operation, point)
    print(f"{operation}: {len(points)} points")


def test_no_header_does_harm(tmp_path: Path) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = read_mutated(tmp_path / "a.gguf", HEADERS, random.Random(11))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    print(f"{HEADERS:,} headers, {whole:,} of them read, {grown_kib >> 10} MiB more")
    assert grown_kib < 64 << 10
