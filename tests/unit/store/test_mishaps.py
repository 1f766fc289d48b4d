"""What befalls a store from outside: killed neighbours, traps, clocks that jump, names that differ in case only."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from corral.store import partial as partial_module
from corral.store.disk import locked
from corral.store.errors import StoreError, StoreReadOnly
from corral.store.manifests import ModelConfig
from corral.store.names import Digest, ModelName
from corral.store.partial import Partial
from corral.store.plans import execute, plan_delete, plan_prune
from corral.store.ranges import Span
from tests.store_child import NOBODY, OUTCOMES
from tests.tracing import StoreProcess
from tests.unit.store.handmade import Gguf
from tests.unit.store.stocked import Stocked
from tests.unit.store.survival import DAY_S, check_whole
from tests.waiting import until

A, B = ModelName.parse("a"), ModelName.parse("b")
KEY = Digest("4" * 64)
CANARY = b"nobody may write here"


class Killed(BaseException):
    """Stands for the process ending there: nothing behind it is run but what lets go of files."""


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    path.write_bytes(CANARY)
    yield path
    assert path.read_bytes() == CANARY


def test_a_half_written_manifest_is_no_model(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama takes every file four folders deep for one, and clears nothing up while one is broken."""
    store.model("a", b"1")

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            store.manifests.write_bytes(B, store.manifests.read_bytes(A))
    (left,) = store.paths.root.rglob("corral-*.tmp")
    assert left.parent == store.paths.manifests
    assert list(store.manifests.names()) == [A]
    assert store.catalog.scan().warnings == ()
    assert plan_prune(store.catalog.scan()).files == ()
    os.utime(left, (1, 1))
    execute(plan_prune(store.catalog.scan()))
    assert not left.exists()


@pytest.mark.parametrize("where", ["replace_file", "truncate"])
def test_a_journal_that_outlived_its_file_says_nothing_of_the_next(
    store: Stocked, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Killed as a file had got its name, then again as another of that key was begun."""
    partial = Partial.open(store.paths, KEY, 1000)
    assert partial is not None
    partial.write(0, bytes(range(250)) * 4)
    partial.sync([Span(0, 1000)])
    journal = store.paths.journal(KEY).read_bytes()
    blob = partial.commit()
    partial.close()
    store.paths.journal(KEY).write_bytes(journal)
    store.paths.blob(blob.digest).unlink()

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(partial_module if where == "replace_file" else os, where, die)
        with pytest.raises(Killed):
            Partial.open(store.paths, KEY, 1000)
    again = Partial.open(store.paths, KEY, 1000)
    assert again is not None
    assert again.ranges.total == 0
    again.close()


def test_links_in_the_store_are_not_written_through(store: Stocked, canary: Path) -> None:
    store.model("a", b"1")
    store.paths.partial(KEY).symlink_to(canary)
    with pytest.raises(StoreError):
        Partial.open(store.paths, KEY, 1000)
    store.paths.lock.unlink()
    store.paths.lock.symlink_to(canary.with_name("not there yet"))
    with pytest.raises(StoreError), locked(store.paths.lock):
        pass
    assert not canary.with_name("not there yet").exists()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_blob_or_manifest_that_is_a_link_is_replaced_and_removed_itself(
    store: Stocked, canary: Path, make: Callable[[Path, Path], None]
) -> None:
    store.model("a", b"1")
    blob = store.paths.root / store.blob_file(b"1")
    manifest = store.paths.manifest(B)
    manifest.parent.mkdir()
    for path in (blob, manifest):
        path.unlink(missing_ok=True)
        make(canary, path)
    store.model("b", b"1")
    assert blob.read_bytes() == b"1"
    check_whole(store)
    for path in (blob, manifest):
        path.unlink()
        make(canary, path)
    execute(plan_delete(store.catalog.scan(), [A]))
    execute(plan_delete(store.catalog.scan(), [B]))
    assert not manifest.exists()


def test_names_that_differ_in_case_only_are_one(store: Stocked) -> None:
    digest = store.model("Mixed:One", b"1")
    for target in ("mixed:one", "MIXED:ONE", "Mixed:One"):
        store.manifests.copy(ModelName.parse("miXed:oNe"), ModelName.parse(target))
    (model,) = store.catalog.scan().models
    assert (model.name.short, model.digest) == ("Mixed:One", digest)
    store.manifests.write(ModelName.parse("mixed:two"), ModelConfig(), [store.layer(b"2")])
    assert {one.short for one in store.manifests.names()} == {"Mixed:One", "mixed:two"}
    execute(plan_delete(store.catalog.scan(), [ModelName.parse("MIXED:TWO"), ModelName.parse("mixed:ONE")]))
    assert list(store.manifests.names()) == []


def test_a_download_lets_go_of_its_files_once_though_the_disk_fails(
    store: Stocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is closed twice may be somebody else's file or socket by then."""
    partial = Partial.open(store.paths, KEY, 4)
    assert partial is not None
    ours = {partial._handle, partial._journal}
    close, closed = os.close, []

    def close_badly(handle: int) -> None:
        close(handle)
        if handle in ours:
            closed.append(handle)
            raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close_badly)
        for _ in range(2):
            partial.close()
    assert sorted(closed) == sorted(ours)


def test_a_clock_that_jumps_takes_nothing_from_who_is_at_work(store: Stocked) -> None:
    partial = Partial.open(store.paths, KEY, 4)
    assert partial is not None
    with store.blobs.writer() as writer:
        writer.write(b"data")
        files = {writer.staged(), partial.path, store.paths.journal(KEY)}
        for path in files:
            os.utime(path, (1, 1))
        plan = plan_prune(store.catalog.scan())
        assert set(plan.files) == files
        assert execute(plan) == 0
        writer.commit()
    partial.close()
    assert store.blobs.has(Digest("3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"))
    execute(plan)
    assert not partial.path.exists()
    later = store.paths.blobs / "corral-y.tmp"
    later.touch()
    os.utime(later, (time.time() + DAY_S,) * 2)  # what was written before the clock was set back
    assert later not in plan_prune(store.catalog.scan()).files


def test_a_download_that_was_there_for_long_is_young_when_it_gets_its_name(store: Stocked) -> None:
    partial = Partial.open(store.paths, KEY, 4)
    assert partial is not None
    partial.write(0, b"data")
    os.utime(partial.path, (1, 1))
    partial.commit()
    partial.close()
    assert plan_prune(store.catalog.scan()).files == ()


def test_nothing_is_freed_while_ollama_may_be_writing_a_manifest(store: Stocked) -> None:
    """It writes in place: for a moment the model is there and names nothing."""
    store.model("a", b"shared")
    store.model("b", b"shared")
    whole = store.paths.manifest(B).read_bytes()
    store.paths.manifest(B).write_bytes(b"")
    execute(plan_delete(store.catalog.scan(), [A]))
    store.paths.manifest(B).write_bytes(whole)
    check_whole(store)
    assert store.catalog.find(B)


def test_one_that_stays_broken_does_not_keep_everything(store: Stocked) -> None:
    store.model("a", b"1")
    store.model("b", b"2")
    store.paths.manifest(B).write_bytes(b"")
    os.utime(store.paths.manifest(B), (1, 1))
    execute(plan_delete(store.catalog.scan(), [A]))
    assert store.blob_file(b"1") not in store.files()


def open_files(pid: int) -> set[str]:
    return {one.path for one in psutil.Process(pid).open_files()}


async def test_a_lock_goes_with_its_process(store: Stocked, tmp_path: Path) -> None:
    store.model("a", b"1")
    held = tmp_path / "held"
    async with StoreProcess.started() as holder, StoreProcess.started() as other:
        pid = await holder.begin("hold", store.paths.root, str(held))
        os.kill(pid, signal.SIGUSR1)
        await until(held.exists)
        waiting = await other.begin("copy", store.paths.root, "a|b")
        os.kill(waiting, signal.SIGUSR1)
        await until(lambda: str(store.paths.lock) in open_files(waiting))
        assert store.manifests.locate(B) is None
        os.kill(pid, signal.SIGKILL)
        assert await holder.ended() == -9
        assert await other.ended() == 0
    check_whole(store)
    assert store.manifests.locate(B) == B


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may pass through."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("operation", ["create", "copy", "delete", "prune"])
async def test_a_store_of_somebody_else_is_read_and_refused_to_write(open_folder: Path, operation: str) -> None:
    store = Stocked(open_folder / "models")
    store.model("a", bytes(Gguf()))
    litter = store.paths.blobs / "corral-x.tmp"
    litter.touch()
    os.utime(litter, (1, 1))
    (open_folder / "m.gguf").write_bytes(bytes(Gguf(version=2)))
    before = store.files()
    folders = [store.paths.root, *(path for path in store.paths.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    argument = {"create": f"{open_folder / 'm.gguf'}|b", "copy": "a|b", "delete": "a"}.get(operation, "")
    try:
        async with StoreProcess.started() as process:
            status = await process.run(operation, store.paths.root, argument, user=NOBODY)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert status == OUTCOMES[StoreReadOnly]
    assert store.files() == before
    check_whole(store)
