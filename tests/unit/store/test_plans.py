from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from corral.store import plans
from corral.store.errors import ModelNotFound, StoreError, StoreReadOnly
from corral.store.names import ModelName
from corral.store.plans import execute, plan_delete, plan_prune, prune_after_replace
from tests.unit.store.stocked import Stocked

A, B = ModelName.parse("a"), ModelName.parse("b")


def manifest(name: str) -> str:
    return f"manifests/registry.ollama.ai/library/{name}/latest"


def test_a_plan_says_what_goes_and_who_needs_the_rest(store: Stocked) -> None:
    store.model("a", b"shared", b"only a", family="a")
    store.model("b", b"shared", family="b")
    plan = plan_delete(store.catalog.scan(), [ModelName.parse("A")])
    config = store.manifests.read(A).config.size
    assert plan.names == (A,)
    assert (plan.frees, plan.keeps) == (6 + config, 6)
    assert plan.shared_with == (B,)
    assert store.blobs.has(plan.kept[0].digest)

    assert execute(plan) == plan.frees
    assert [name.model for name in store.manifests.names()] == ["b"]
    assert store.blob_file(b"shared") in store.files()
    assert store.blob_file(b"only a") not in store.files()
    assert not store.paths.manifest(A).parent.exists()


def test_deleting_all_leaves_nothing(store: Stocked) -> None:
    store.model("a", b"shared", b"only a")
    store.model("b", b"shared")
    plan = plan_delete(store.catalog.scan(), [A, B, A])
    assert plan.shared_with == ()
    execute(plan)
    assert store.files() == set()
    assert list(store.paths.manifests.iterdir()) == []
    with pytest.raises(ModelNotFound):
        execute(plan)


def test_what_is_not_there_cannot_be_planned(store: Stocked) -> None:
    with pytest.raises(ModelNotFound, match="model 'a:latest' not found"):
        plan_delete(store.catalog.scan(), [A])


def test_the_manifest_goes_first_and_a_crash_keeps_models_whole(
    store: Stocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.model("a", b"1", b"2")
    plan = plan_delete(store.catalog.scan(), [A])
    removed: list[str] = []
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if len(removed) == 2:
            raise OSError(errno.EIO, "killed here")
        removed.append(path.parent.name)
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(StoreError):
            execute(plan)
    assert removed == ["a", "blobs"]
    assert store.catalog.scan().models == ()
    assert store.catalog.scan().warnings == ()


def test_a_read_only_store_keeps_everything(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    store.model("a", b"1")
    before = store.files()
    plan = plan_delete(store.catalog.scan(), [A])

    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(StoreReadOnly):
            execute(plan)
    assert store.files() == before


def test_an_old_plan_does_no_harm(store: Stocked) -> None:
    store.model("a", b"1")
    plan = plan_delete(store.catalog.scan(), [A])
    store.model("b", b"1")
    store.model("a", b"2", family="new")
    execute(plan)
    assert [name.model for name in store.manifests.names()] == ["b"]
    assert store.blob_file(b"1") in store.files()
    assert store.blob_file(b"2") not in store.files()


def test_a_broken_model_can_be_deleted_and_guards_its_blobs_until_then(store: Stocked) -> None:
    store.model("a", b"1")
    store.model("b", b"1")
    path = store.paths.manifest(B)
    path.write_bytes(path.read_bytes()[:-10])
    execute(plan_delete(store.catalog.scan(), [A]))
    assert store.blob_file(b"1") in store.files()
    execute(plan_delete(store.catalog.scan(), [B]))
    assert store.files() == set()


def test_overwriting_frees_what_only_the_old_model_had(store: Stocked) -> None:
    store.model("a", b"old", b"both")
    old = store.manifests.read(A)
    store.model("a", b"new", b"both")
    assert prune_after_replace(store.paths, old) == 3
    assert prune_after_replace(store.paths, None) == 0
    assert store.files() == {manifest("a"), *(store.blob_file(x) for x in (b"new", b"both"))} | {
        f"blobs/sha256-{old.config.digest.hex}"
    }


def test_nothing_is_freed_while_a_manifest_may_not_be_read(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    store.model("a", b"1")
    plan = plan_delete(store.catalog.scan(), [A])
    monkeypatch.setattr(plans, "_referenced", lambda _: None)
    assert execute(plan) == 0
    assert store.blob_file(b"1") in store.files()
    old = time.time() - 7200
    for file in store.paths.blobs.iterdir():
        os.utime(file, (old, old))
    assert execute(plan_prune(store.catalog.scan())) == 0


def test_a_start_clears_away_what_nobody_needs_after_an_hour(store: Stocked) -> None:
    store.model("a", b"used")
    store.blobs.put_bytes(b"young")
    store.blobs.put_bytes(b"old")
    partial = store.paths.blobs / f"sha256-{'0' * 64}-partial"
    partial.write_bytes(b"123")
    (store.paths.blobs / "folder").mkdir()
    long_ago = time.time() - 7200
    for path in (store.paths.root / store.blob_file(b"old"), partial, store.paths.root / store.blob_file(b"used")):
        os.utime(path, (long_ago, long_ago))
    plan = plan_prune(store.catalog.scan())
    assert plan.frees == 6
    partial.touch()
    assert execute(plan) == 3
    assert {store.blob_file(b"used"), store.blob_file(b"young"), f"blobs/{partial.name}"} <= store.files()
    assert store.blob_file(b"old") not in store.files()


def test_a_start_clears_nothing_while_a_manifest_is_broken_or_without_a_store(store: Stocked) -> None:
    assert plan_prune(store.catalog.scan()).files == ()
    store.model("a", b"1")
    store.paths.manifest(A).write_bytes(b"")
    assert plan_prune(store.catalog.scan(), now=time.time() + 1e6).files == ()
