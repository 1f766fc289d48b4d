"""Deletions of the workbench: kept for a while, across a restart, then gone; those of the API are not kept."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from corral.runtime import housekeeping
from corral.runtime.errors import NotSupported
from corral.runtime.settings import Settings
from corral.runtime.workbench import Workbench
from corral.store.errors import CannotRestore, ModelElsewhere, ModelNotFound, NoSpace
from tests.fakes.registry import FakeRegistry
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked
from tests.waiting import until

DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Stocked:
    store = Stocked(tmp_path / "models")
    store.model("a", bytes(Gguf()), b"shared", family="a")
    store.model("b", b"other" * 10, b"shared", family="b")
    return store


def bench_on(store: Stocked, trash_s: float = DAY_S) -> Workbench:
    return Workbench(Settings(models=store.paths.root, trash_s=trash_s), warm=False)


async def names(bench: Workbench) -> list[str]:
    return sorted(model.name for model in await bench.list_models())


async def test_a_deletion_is_undone_after_a_restart(store: Stocked) -> None:
    before = store.files()
    bench = bench_on(store)
    assert (await bench.plan_delete(["a"])).kept_s == DAY_S
    assert await bench.trash(["A"]) == ("a:latest",)
    assert await names(bench) == ["b:latest"]
    assert "a:latest: in the trash, nothing is freed yet" in [event.text for event in bench.events.newest()]
    await bench.close()

    later = bench_on(store)
    await later.start("127.0.0.1:1")
    try:
        (kept,) = (await later.plan_cleanup()).trash
        assert (kept.models, kept.until_s - kept.deleted_s) == (("a:latest",), DAY_S)
        assert kept.frees == (await later.plan_cleanup()).trash_frees > len(bytes(Gguf()))
        assert await later.restore() == ("a:latest",)
        assert await names(later) == ["a:latest", "b:latest"]
        assert await later.restore() == ()
        assert store.files() == before
    finally:
        await later.close()


async def test_what_api_and_command_line_delete_frees_its_space_at_once(store: Stocked) -> None:
    bench = bench_on(store)
    await bench.delete("a")
    assert not store.paths.trash.exists()
    assert store.blob_file(bytes(Gguf())) not in store.files()
    assert await bench.restore() == ()


async def test_what_shares_with_the_trash_says_so_and_cleaning_up_empties_it(store: Stocked) -> None:
    bench = bench_on(store)
    await bench.trash(["a"])
    plan = await bench.plan_delete(["b"])
    assert (plan.shared_with, plan.shared_with_trash, plan.keeps) == ((), ("a:latest",), len(b"shared"))
    cleanup = await bench.plan_cleanup()
    assert cleanup.files == 0
    assert await bench.clean_up() == cleanup.trash_frees > 0
    assert (await bench.plan_cleanup()).trash == ()
    assert await names(bench) == ["b:latest"]


async def test_what_has_been_there_long_enough_goes_by_itself(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "EMPTYING_EVERY_S", 0.01)
    bench = bench_on(store)
    await bench.start("127.0.0.1:1")
    try:
        await bench.trash(["a"])
        assert (await bench.plan_cleanup()).trash
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + DAY_S + 1)
        await until(lambda: not store.paths.trash.exists())
        await until(lambda: any("what was in the trash: freed" in event.text for event in bench.events.newest()))
        assert store.blob_file(bytes(Gguf())) not in store.files()
        assert await names(bench) == ["b:latest"]
    finally:
        await bench.close()


async def test_without_a_trash_there_is_none_and_what_is_not_ours_stays(store: Stocked) -> None:
    bench = bench_on(store, trash_s=0)
    assert (await bench.plan_delete(["a"])).kept_s == 0
    with pytest.raises(NotSupported, match="TRASH is 0"):
        await bench.trash(["a"])
    bench = Workbench(Settings(models=store.paths.root, aliases={"x": "a"}), warm=False)
    with pytest.raises(ModelElsewhere, match="is an alias"):
        await bench.trash(["x"])
    with pytest.raises(ModelNotFound):
        await bench.trash(["a", "nosuch"])
    assert await names(bench) == ["a:latest", "b:latest", "x:latest"]


async def test_a_pull_of_what_lies_in_the_trash_fetches_nothing_and_stands_in_the_way(
    store: Stocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeRegistry().served() as registry:
        registry.add("library/tiny:latest", b"w" * 1000)
        registry.add("library/huge:latest", b"h" * 100_000)
        name = f"{registry.base}/library/tiny"
        bench = bench_on(store)
        try:
            assert [step.status async for step in bench.pull(name, insecure=True)][-1] == "success"
            (pulled,) = set(await names(bench)) - {"a:latest", "b:latest"}
            await bench.trash([pulled])
            with monkeypatch.context() as patch:
                patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
                assert 1000 < (await bench.plan_pull(f"{registry.base}/library/huge", insecure=True)).in_trash < 2000
                with pytest.raises(NoSpace, match=r"10 B free; emptying the trash frees 1\.\d KB: :gc in the workb"):
                    async for _ in bench.pull(f"{registry.base}/library/huge", insecure=True):
                        pass
            asked = len(registry.blob_requests())
            assert [step.status async for step in bench.pull(name, insecure=True)][-1] == "success"
            assert len(registry.blob_requests()) == asked
            with pytest.raises(CannotRestore, match="is there again"):
                await bench.restore()
            await bench.clean_up()
            assert pulled in await names(bench)
            assert [step.status async for step in bench.verify(pulled)][-1] == "success"
        finally:
            await bench.close()
