"""Deletions that can be undone: where they lie, what keeps their blobs, and what stands in the way of going back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from corral.store import trash
from corral.store.errors import CannotRestore, ModelNotFound, StoreError, StoreReadOnly
from corral.store.names import ModelName
from corral.store.plans import (
    empty_trash,
    execute,
    plan_delete,
    plan_prune,
    plan_trash,
    prune_after_replace,
    remove_unreferenced,
)
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import check_whole

A, B = ModelName.parse("a"), ModelName.parse("b")


def listed(store: Stocked) -> list[str]:
    return sorted(model.name.model for model in store.catalog.scan().models)


def grow_old(store: Stocked) -> None:
    """Make every blob old enough to be cleaned up."""
    then = time.time() - 7200
    for path in store.paths.blobs.iterdir():
        os.utime(path, (then, then))


def test_what_is_deleted_is_not_listed_keeps_its_blobs_and_comes_back_as_it_was(store: Stocked) -> None:
    store.model("a", b"shared", b"only a")
    store.model("b", b"shared")
    before, model = store.files(), store.catalog.find(A)
    moved = trash.move_in(store.paths, [ModelName.parse("A")])
    assert (moved.names, listed(store)) == ((A,), ["b"])
    assert not store.paths.manifest(A).parent.exists()
    assert not list(store.paths.manifests.glob("**/*trash*"))
    assert store.blob_file(b"only a") in store.files()
    (kept,) = trash.deletions(store.paths)
    assert kept.names == (A,)
    assert kept.at_s == pytest.approx(time.time(), abs=60)

    # Another process, later: nothing but the disk is asked.
    later = Stocked(store.paths.root)
    back = trash.restore(later.paths)
    assert back is not None
    assert back.names == (A,)
    assert later.files() == before
    assert later.catalog.find(A) == model
    assert not later.paths.trash.exists()
    assert trash.restore(later.paths) is None


def test_the_last_deletion_comes_back_first_and_as_a_whole(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        store.model(name, name.encode())
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    trash.move_in(store.paths, [A])
    monkeypatch.setattr(time, "time", lambda: 900.0)
    trash.move_in(store.paths, [B, ModelName.parse("c"), ModelName.parse("gone")])
    assert [len(one.names) for one in trash.deletions(store.paths)] == [1, 2]
    trash.restore(store.paths)
    assert listed(store) == ["b", "c"]
    trash.restore(store.paths)
    assert listed(store) == ["a", "b", "c"]


def test_what_is_not_there_cannot_be_deleted_and_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    nowhere = Stocked(tmp_path / "none")
    assert trash.restore(nowhere.paths) is None
    assert empty_trash(nowhere.paths) == 0
    assert not nowhere.paths.root.exists()
    with pytest.raises(ModelNotFound, match="'a:latest' not found"):
        trash.move_in(nowhere.paths, [A])


def test_nothing_takes_the_blobs_of_what_can_be_restored(store: Stocked) -> None:
    store.model("a", b"shared", b"only a")
    store.model("b", b"shared")
    old = store.manifests.read(A)
    trash.move_in(store.paths, [A])
    grow_old(store)
    assert plan_prune(store.catalog.scan()).files == ()
    assert remove_unreferenced(store.paths, old.digests) == 0
    assert prune_after_replace(store.paths, old) == 0

    # Deleting at once frees at once, but for what the trash needs; the plan says so before.
    plan = plan_delete(store.catalog.scan(), [B])
    assert (plan.shared_with, plan.shared_with_trash) == ((), (A,))
    assert {blob.digest for blob in plan.kept} == store_digests(store, b"shared") | {old.config.digest}
    execute(plan)
    trash.restore(store.paths)
    assert listed(store) == ["a"]
    check_whole(store)


def store_digests(store: Stocked, *parts: bytes) -> set[object]:
    return {store.layer(part).digest for part in parts}


def test_a_plan_says_what_emptying_frees_and_counts_shared_bytes_once(store: Stocked) -> None:
    store.model("a", b"three" * 2, b"both", family="a")
    store.model("b", b"both", b"kept", family="b")
    store.model("c", b"kept", family="c")
    sizes = [store.manifests.read(name).config.size for name in (A, B)]
    trash.move_in(store.paths, [A])
    trash.move_in(store.paths, [B])
    plan = plan_trash(store.catalog.scan())
    assert [frees for _, frees in plan.deletions] == [10 + 4 + sizes[0], 4 + sizes[1]]
    assert plan.frees == 10 + 4 + sum(sizes)
    assert empty_trash(store.paths) == plan.frees
    assert trash.deletions(store.paths) == ()
    assert not store.paths.trash.exists()
    assert listed(store) == ["c"]
    check_whole(store)


def test_only_what_has_been_there_long_enough_goes(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    store.model("a", b"only a", b"both", family="a")
    store.model("b", b"only b", b"both", family="b")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1000.0)
        trash.move_in(store.paths, [A])
    trash.move_in(store.paths, [B])
    assert empty_trash(store.paths, 1000.0) == 0
    assert empty_trash(store.paths, 1001.0) > 0
    assert {store.blob_file(b"only b"), store.blob_file(b"both")} <= store.files()
    assert store.blob_file(b"only a") not in store.files()
    trash.restore(store.paths)
    assert listed(store) == ["b"]
    check_whole(store)


def test_a_model_of_that_name_that_came_meanwhile_is_not_replaced(store: Stocked) -> None:
    store.model("a", b"old")
    store.model("b", b"2")
    trash.move_in(store.paths, [B, A])
    store.model("A", b"new")
    with pytest.raises(CannotRestore, match=r"'a:latest' is there again: rename or delete it first"):
        trash.restore(store.paths)
    assert listed(store) == ["A"]
    execute(plan_delete(store.catalog.scan(), [A]))
    trash.restore(store.paths)
    assert listed(store) == ["a", "b"]
    check_whole(store)


def test_a_model_whose_blobs_another_program_pruned_does_not_come_back(store: Stocked) -> None:
    store.model("a", b"1")
    trash.move_in(store.paths, [A])
    (store.paths.root / store.blob_file(b"1")).unlink()
    with pytest.raises(CannotRestore, match=r"blob sha256:6b86.* is gone; pull it again"):
        trash.restore(store.paths)
    assert listed(store) == []
    assert empty_trash(store.paths) > 0
    assert store.files() == set()


def test_a_broken_model_goes_and_comes_as_it_is_and_guards_its_blobs(store: Stocked) -> None:
    store.model("a", b"1")
    path = store.paths.manifest(A)
    path.write_bytes(path.read_bytes()[:-10])
    old = time.time() - 7200
    os.utime(path, (old, old))
    trash.move_in(store.paths, [A])
    grow_old(store)
    assert execute(plan_prune(store.catalog.scan())) == 0
    trash.restore(store.paths)
    assert store.catalog.scan().broken == (A,)
    trash.move_in(store.paths, [A])
    empty_trash(store.paths)
    assert store.files() == set()


def test_a_disk_that_refuses_leaves_the_model_listed_or_in_the_trash(
    store: Stocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "no")

    store.model("a", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(StoreReadOnly):
            trash.move_in(store.paths, [A])
    assert listed(store) == ["a"]
    assert trash.deletions(store.paths) == ()
    trash.move_in(store.paths, [A])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(StoreError):
            trash.restore(store.paths)
    assert [one.names for one in trash.deletions(store.paths)] == [(A,)]
    trash.restore(store.paths)
    assert listed(store) == ["a"]


def test_what_else_lies_there_is_left_alone(store: Stocked) -> None:
    store.model("a", b"1")
    trash.move_in(store.paths, [A])
    (store.paths.trash / "mine").mkdir()
    (store.paths.trash / "12").write_bytes(b"a file")
    assert [one.names for one in trash.deletions(store.paths)] == [(A,)]
    empty_trash(store.paths)
    assert {path.name for path in store.paths.trash.iterdir()} == {"mine", "12"}
