"""Looking after the models of a store: what a pull would fetch, pulls that were left, what fits, what is damaged."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from corral.runtime.errors import RequestCanceled
from corral.runtime.settings import Settings
from corral.runtime.verbs import Caller
from corral.runtime.workbench import Workbench
from corral.store.errors import DamagedModel, SourceError
from corral.store.paths import StorePaths
from tests.fakes.registry import FakeRegistry, digest_of

WEIGHTS = random.Random(1).randbytes(16_000_000)


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().served() as registry:
        registry.add("library/tiny:latest", WEIGHTS)
        yield registry


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    bench = Workbench(Settings(models=tmp_path / "models"), warm=False)
    yield bench
    await bench.close()


def name_in(registry: FakeRegistry) -> str:
    return f"{registry.base}/library/tiny"


async def left_half_way(bench: Workbench, name: str) -> None:
    """Pull until bytes have come, and walk away."""
    async with aclosing(bench.pull(name, insecure=True, limit_rate=8_000_000)) as steps:
        async for step in steps:
            if step.completed > 2_000_000:
                assert await bench.unfinished_pulls() == ()
                return
    raise AssertionError("the pull was over too soon")


async def test_a_plan_says_what_a_pull_takes_and_fetches_nothing(registry: FakeRegistry, bench: Workbench) -> None:
    plan = await bench.plan_pull(name_in(registry), insecure=True)
    assert plan.needed == plan.size > plan.weights == len(WEIGHTS)
    assert (plan.parts, plan.parts_here) == (2, 0)
    assert plan.has_room
    assert registry.blob_requests() == []
    async for _ in bench.pull(name_in(registry), insecure=True):
        pass
    again = await bench.plan_pull(name_in(registry), insecure=True)
    assert (again.needed, again.parts_here) == (0, 2)
    assert again.digest == (await bench.list_models())[0].digest
    with pytest.raises(SourceError, match="does not exist"):
        await bench.plan_pull(f"{registry.base}/library/none", insecure=True)


async def test_a_pull_that_was_left_is_known_after_a_restart_and_goes_on(
    registry: FakeRegistry, bench: Workbench, tmp_path: Path
) -> None:
    name = name_in(registry)
    await left_half_way(bench, name)
    restarted = Workbench(Settings(models=tmp_path / "models"), warm=False)
    try:
        (left,) = await restarted.unfinished_pulls()
        assert (left.model, left.limit_rate) == (name, 8_000_000)
        assert 2_000_000 <= left.completed < left.total
        assert left.total == (await restarted.plan_pull(name, insecure=True)).size  # parts it had not come to, too
        assert left.since_s == pytest.approx(time.time(), abs=60)
        first = [step async for step in restarted.pull(name, insecure=True) if step.completed]
        assert first[0].completed >= left.completed
        assert await restarted.unfinished_pulls() == ()
        assert not list((tmp_path / "models" / "blobs").glob("corral-*"))
    finally:
        await restarted.close()


async def test_a_pull_that_is_cancelled_can_be_taken_up_again(registry: FakeRegistry, bench: Workbench) -> None:
    name = name_in(registry)
    caller = Caller("p1", "tui", "", "pull")

    async def pull() -> None:
        async for step in bench.pull(name, insecure=True, limit_rate=8_000_000, caller=caller):
            if step.completed > 2_000_000:
                await bench.cancel("p1")

    with pytest.raises(RequestCanceled):
        await pull()
    (left,) = await bench.unfinished_pulls()
    assert (left.model, left.insecure) == (name, True)
    with pytest.raises(SourceError):  # it begins nothing: the same where the network is away
        async for _ in bench.pull(name):
            pass
    assert await bench.unfinished_pulls() == (left,)


async def test_what_came_can_be_dropped(registry: FakeRegistry, bench: Workbench, tmp_path: Path) -> None:
    name = name_in(registry)
    await left_half_way(bench, name)
    assert await bench.drop_unfinished("something else") == 0
    assert await bench.drop_unfinished(name) >= 2_000_000
    assert await bench.unfinished_pulls() == ()
    assert not list((tmp_path / "models" / "blobs").glob("corral-*"))


async def test_a_pull_of_nothing_leaves_no_note(registry: FakeRegistry, bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        async for _ in bench.pull(f"{registry.base}/library/none", insecure=True):
            pass
    assert await bench.unfinished_pulls() == ()


async def test_damage_is_found_and_told(registry: FakeRegistry, bench: Workbench, tmp_path: Path) -> None:
    async for _ in bench.pull(name_in(registry), insecure=True):
        pass
    name = (await bench.list_models())[0].name
    steps = [step async for step in bench.verify(name)]
    assert steps[-1].status == "success"
    path = StorePaths(tmp_path / "models").root / "blobs" / digest_of(WEIGHTS).replace(":", "-")
    path.write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(DamagedModel, match="bytes have changed"):
        async for _ in bench.verify(name):
            pass


async def test_orphans_are_told_before_they_go(bench: Workbench, tmp_path: Path) -> None:
    blobs = tmp_path / "models" / "blobs"
    blobs.mkdir(parents=True)
    orphan = blobs / f"sha256-{'a' * 64}"
    orphan.write_bytes(b"x" * 1000)
    assert (await bench.plan_cleanup()).files == 0  # it may belong to somebody at work
    os.utime(orphan, (time.time() - 7200,) * 2)
    plan = await bench.plan_cleanup()
    assert (plan.files, plan.frees) == (1, 1000)
    assert orphan.exists()
    assert await bench.clean_up() == 1000
    assert not orphan.exists()


async def test_what_fits_is_told_without_loading(starter_store: Path) -> None:
    bench = Workbench(Settings(models=starter_store), warm=False)
    try:
        (fit,) = await bench.fits("smollm2:135m")
        assert fit.num_ctx == 8192
        assert 150_000_000 < fit.needs < 2_000_000_000
        assert fit.layers == 31
        assert not await bench.loaded()
    finally:
        await bench.close()
        await asyncio.sleep(0)
