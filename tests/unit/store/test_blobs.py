from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.store import blobs as blobs_module
from corral.store import disk
from corral.store.blobs import BlobWriter
from corral.store.errors import BlobNotFound, DigestMismatch, NoSpace, SourceError, StoreError, StoreReadOnly
from corral.store.names import Digest
from tests.unit.store.stocked import Stocked

DATA = b"some weights" * 1000
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_bytes_go_in_under_their_digest_readable_by_everybody(store: Stocked) -> None:
    blob = store.blobs.put_bytes(DATA)
    assert (blob.digest, blob.size) == (DIGEST, len(DATA))
    assert store.blobs.has(DIGEST)
    assert store.blobs.size(DIGEST) == len(DATA)
    assert store.blobs.read(DIGEST, 4) == b"some"
    path = store.blobs.path(DIGEST)
    assert path == store.paths.root / store.blob_file(DATA)
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert store.files() == {store.blob_file(DATA)}


def test_an_empty_blob_is_a_blob(store: Stocked) -> None:
    assert store.blobs.put_bytes(b"").size == 0
    assert store.files() == {store.blob_file(b"")}


def test_a_missing_blob_is_named(store: Stocked) -> None:
    assert not store.blobs.has(DIGEST)
    with pytest.raises(BlobNotFound, match=f"blob {DIGEST} is missing"):
        store.blobs.path(DIGEST)


def test_nothing_is_visible_before_it_is_verified(store: Stocked) -> None:
    with store.blobs.writer(DIGEST) as writer:
        writer.write(DATA[:5000])
        writer.write(memoryview(DATA)[5000:])
        assert not store.blobs.has(DIGEST)
        assert writer.staged().read_bytes() == DATA
        writer.commit()
    assert store.blobs.has(DIGEST)


def test_wrong_bytes_leave_nothing(store: Stocked) -> None:
    with store.blobs.writer(DIGEST) as writer:
        writer.write(DATA + b"!")
        with pytest.raises(DigestMismatch, match="digest mismatch, expected"):
            writer.commit()
    assert store.files() == set()


def test_leaving_without_commit_leaves_nothing(store: Stocked) -> None:
    with store.blobs.writer() as writer:
        writer.write(DATA)
    assert store.files() == set()


def test_a_damaged_blob_is_healed_by_storing_it_again(store: Stocked) -> None:
    store.blobs.put_bytes(DATA)
    store.blobs.path(DIGEST).write_bytes(bytes(len(DATA)))
    store.blobs.put_bytes(DATA)
    assert store.blobs.path(DIGEST).read_bytes() == DATA


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, NoSpace), (errno.EIO, StoreError), (errno.EROFS, StoreReadOnly)]
)
def test_a_failing_disk_leaves_nothing(
    store: Stocked, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[StoreError]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "replace" else os, call, failing(number))
        with pytest.raises(error) as caught:
            store.blobs.put_bytes(DATA)
    assert type(caught.value) is error
    assert str(store.paths.root) not in str(caught.value)
    assert store.files() == set()


def test_a_full_disk_is_told_with_figures(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSpace, match=r"not enough disk space for the model: \d+ GB needed, .* free"):
        store.blobs.writer(size=1 << 60)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 12_000_000)
    with pytest.raises(NoSpace, match="98 MB needed, 12 MB free"):
        store.blobs.writer(size=98_362_432)
    assert store.files() == set()


def test_a_really_full_disk_leaves_nothing(store: Stocked) -> None:
    with store.blobs.writer() as writer:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._file.fileno())
        os.close(full)
        with pytest.raises(NoSpace):
            writer.write(bytes(4 << 20))
    assert store.files() == set()


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        Stocked(tmp_path / "x").blobs.put_bytes(b"")


def test_many_writers_of_one_blob(store: Stocked) -> None:
    threads = [threading.Thread(target=store.blobs.put_bytes, args=(DATA,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.files() == {store.blob_file(DATA)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.write_bytes(DATA * 300)
    return path


def test_a_file_is_taken_in_and_its_source_may_change(store: Stocked, source: Path) -> None:
    told: list[int] = []
    blob = store.blobs.adopt(source, told.append)
    assert told[-1] == blob.size == len(DATA) * 300
    source.write_bytes(b"other")
    assert store.blobs.path(blob.digest).read_bytes() == DATA * 300
    assert store.blobs.path(blob.digest).stat().st_nlink == 1
    assert len(store.files()) == 1


def test_a_file_that_is_here_already_is_not_written_again(
    store: Stocked, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = store.blobs.adopt(source)
    os.utime(store.blobs.path(blob.digest), (1, 1))
    monkeypatch.setattr(blobs_module, "BlobWriter", failing(errno.EIO))
    told: list[int] = []
    assert store.blobs.adopt(source, told.append) == blob
    assert told[-1] == blob.size
    assert store.blobs.path(blob.digest).stat().st_mtime > 1
    assert store.blobs.adopt(store.blobs.path(blob.digest)) == blob


def test_a_file_of_the_same_size_with_other_bytes_is_written(store: Stocked, source: Path) -> None:
    first = store.blobs.adopt(source)
    source.write_bytes(bytes(first.size))
    second = store.blobs.adopt(source)
    assert second.digest != first.digest
    assert len(store.files()) == 2


def test_a_clone_is_hashed_itself(store: Stocked, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(self: BlobWriter, handle: int) -> bool:
        self._file.write(os.pread(handle, 1 << 30, 0))
        self._file.flush()
        return True

    monkeypatch.setattr(BlobWriter, "clone", clone)
    told: list[int] = []
    blob = store.blobs.adopt(source, told.append)
    assert told[-1] == blob.size == len(DATA) * 300
    assert blob.digest.hex == hashlib.sha256(DATA * 300).hexdigest()
    assert store.blobs.adopt(source) == blob


def test_a_file_is_shared_where_that_takes_no_space(
    store: Stocked, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(self: BlobWriter, handle: int) -> bool:
        staged = self.staged()
        staged.write_bytes(os.pread(handle, 1 << 30, 0))
        return True

    monkeypatch.setattr(BlobWriter, "clone", clone)
    blob = store.blobs.adopt(source)
    assert blob.digest.hex == hashlib.sha256(source.read_bytes()).hexdigest()
    assert store.files() == {f"blobs/sha256-{blob.digest.hex}"}


def test_a_file_that_changes_meanwhile_is_refused(store: Stocked, source: Path) -> None:
    def shorten(_: int) -> None:
        os.truncate(source, 10)

    with pytest.raises(SourceError, match="changed"):
        store.blobs.adopt(source, shorten)
    assert store.files() == set()


def test_what_is_no_regular_file_is_refused_at_once(store: Stocked, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(SourceError, match=r"not a regular file|cannot read"):
            store.blobs.adopt(path)
    with pytest.raises(SourceError, match="No such file"):
        store.blobs.adopt(tmp_path / "absent")


def test_a_file_that_cannot_be_read_is_told(store: Stocked, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "read", failing(errno.EIO))
    with pytest.raises(SourceError, match="cannot read the file: Input/output error"):
        store.blobs.adopt(source)
    assert store.files() == set()


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 B"), (1500, "1.5 KB"), (98_362_432, "98 MB"), (1_500_000_000, "1.5 GB")]
)
def test_sizes_as_people_read_them(size: int, text: str) -> None:
    assert disk.megabytes(size) == text


def test_the_lock_lets_one_in_at_a_time(store: Stocked) -> None:
    inside = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with disk.locked(store.paths.lock):
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    handle = os.open(store.paths.lock, os.O_RDONLY)
    assert not disk.try_lock(handle)
    leave.set()
    holder.join()
    assert disk.try_lock(handle)
    os.close(handle)


def test_a_lock_that_never_comes_free_is_told(store: Stocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_LOCK_TIMEOUT_S", 0.0)
    monkeypatch.setattr(disk, "try_lock", lambda _: False)
    with pytest.raises(StoreError, match="another process"), disk.locked(store.paths.lock):
        pass
