"""Blobs: bytes named by their sha256. Nothing is visible under a digest before it has been verified.

Safe from any thread and any number of processes: every writer has a file of its own until the rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from corral.store.disk import disk_errors, make_folder, open_temp, require_space, share_file, sync_folder, try_lock
from corral.store.errors import BlobNotFound, DigestMismatch, SourceError
from corral.store.names import Digest
from corral.store.paths import StorePaths

if sys.platform != "win32":
    import fcntl

CHUNK_BYTES = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h; shares the blocks of two files until one of them is written


@dataclass(frozen=True, slots=True)
class Blob:
    """A verified blob of the store; `size` in bytes."""

    digest: Digest
    size: int


class BlobWriter:
    """One blob on its way in. Owned by one thread at a time; leaving without `commit` leaves nothing behind."""

    def __init__(self, paths: StorePaths, expected: Digest | None, size: int) -> None:
        self._paths = paths
        self._expected = expected
        self._announced = size
        self._hash = hashlib.sha256()
        self._size = 0
        with disk_errors(paths.root, size):
            make_folder(paths.blobs)
            require_space(paths.root, size)
            handle, self._temp = open_temp(paths.blobs)
            # It tells whoever tidies up that somebody is at it, whatever the clock says of its age.
            try_lock(handle)
        self._file = os.fdopen(handle, "r+b", buffering=CHUNK_BYTES)
        self._committed = False

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            NoSpace, StoreReadOnly, StoreError: the disk refuses them.
        """
        with disk_errors(self._paths.root, max(self._announced, self._size + len(data))):
            self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def staged(self) -> Path:
        """The file with what has been written so far, for a look at it before `commit`; not yet durable.

        Raises:
            NoSpace, StoreError: the disk refuses the rest.
        """
        with disk_errors(self._paths.root, max(self._announced, self._size)):
            self._file.flush()
        return self._temp

    def clone(self, source: int) -> bool:
        """Take the content of an open file by sharing its blocks; False where that cannot be done."""
        if sys.platform != "linux":
            return False
        try:
            fcntl.ioctl(self._file.fileno(), _FICLONE, source)
        except OSError:
            return False
        return True

    def rehash(self, on_bytes: Callable[[int], None] | None = None) -> None:
        """Hash what a clone, or another process, put into the staged file: the bytes that will be the blob."""
        self._hash = hashlib.sha256()
        self._size = 0
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            self._hash.update(chunk)
            self._size += len(chunk)
            if on_bytes:
                on_bytes(self._size)

    def commit(self) -> Blob:
        """Make the blob durable and visible: sync, verify, rename, sync the folder.

        An older file of that digest is replaced by the verified bytes, which heals one that was damaged.

        Raises:
            DigestMismatch: the bytes are not what was expected.
            NoSpace, StoreReadOnly, StoreError: the disk refuses.
        """
        digest = Digest(self._hash.hexdigest())
        if self._expected is not None and digest != self._expected:
            raise DigestMismatch(str(self._expected), str(digest))
        target = self._paths.blob(digest)
        with disk_errors(self._paths.root, self._announced or self._size):
            self._file.flush()
            share_file(self._file.fileno(), self._temp)
            os.fsync(self._file.fileno())
            self._file.close()
            try:
                self._temp.replace(target)
            except PermissionError:
                # Windows keeps a file that a runner has mapped; it is the same bytes.
                if sys.platform != "win32" or target.stat().st_size != self._size:
                    raise
                self._temp.unlink()
            self._committed = True
            sync_folder(self._paths.blobs)
        return Blob(digest, self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing flushes, which on a full disk fails again; the file goes either way.
        with contextlib.suppress(OSError):
            self._file.close()
        if not self._committed:
            with contextlib.suppress(OSError):
                self._temp.unlink(missing_ok=True)


class BlobStore:
    """The blobs folder of a store."""

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths

    @property
    def paths(self) -> StorePaths:
        """The layout this store lies in."""
        return self._paths

    def has(self, digest: Digest) -> bool:
        """Whether the bytes of `digest` are here."""
        return self._paths.blob(digest).is_file()

    def path(self, digest: Digest) -> Path:
        """The file that holds `digest`.

        Raises:
            BlobNotFound: it is not here.
        """
        path = self._paths.blob(digest)
        if not path.is_file():
            raise BlobNotFound(f"blob {digest} is missing from the store; pull or create its model again")
        return path

    def size(self, digest: Digest) -> int:
        """Bytes of `digest`.

        Raises:
            BlobNotFound: it is not here.
        """
        return self.path(digest).stat().st_size

    def read(self, digest: Digest, longest: int) -> bytes:
        """The content of a small blob (template, system, parameters), at most `longest` bytes of it.

        Raises:
            BlobNotFound: it is not here.
        """
        with self.path(digest).open("rb") as file:
            return file.read(longest)

    def writer(self, expected: Digest | None = None, size: int = 0) -> BlobWriter:
        """Begin a blob; use as a context manager. `size`, where known, is checked against the free space first.

        Raises:
            NoSpace, StoreReadOnly, StoreError: the store cannot take it.
        """
        return BlobWriter(self._paths, expected, size)

    def put_bytes(self, data: bytes) -> Blob:
        """Store bytes that are in memory."""
        with self.writer(size=len(data)) as writer:
            writer.write(data)
            return writer.commit()

    def adopt(self, path: Path, on_bytes: Callable[[int], None] | None = None) -> Blob:
        """Get the content of a local file in: shared blocks where the file system can, else a copy.

        A hard link is never made: whoever changed the file later would change a blob. Blocks its thread.
        `on_bytes` is told how many bytes are done, and starts again at 0 if a second reading is needed.

        Raises:
            SourceError: no regular file, unreadable, or changed while it was read.
            NoSpace, StoreReadOnly, StoreError: the store cannot take it.
        """
        with _opened(path) as handle:
            size = os.fstat(handle).st_size
            known = self._already_here(handle, size, on_bytes)
            if known is not None:
                return known
            return self._copy_in(handle, size, on_bytes)

    def _already_here(self, handle: int, size: int, on_bytes: Callable[[int], None] | None) -> Blob | None:
        """Hash before copying when a blob of that very size is here: it is probably this one."""
        if not self._holds_size(size):
            return None
        sha = hashlib.sha256()
        for chunk, done in _chunks(handle):
            sha.update(chunk)
            if on_bytes:
                on_bytes(done)
        digest = Digest(sha.hexdigest())
        if not self.has(digest) or self.size(digest) != size:
            return None
        # A fresh time tells Ollama's clean-up, and ours, that the blob is wanted again.
        with contextlib.suppress(OSError):
            os.utime(self._paths.blob(digest))
        return Blob(digest, size)

    def _holds_size(self, size: int) -> bool:
        try:
            with os.scandir(self._paths.blobs) as entries:
                return any(entry.stat().st_size == size for entry in entries if entry.name.startswith("sha256-"))
        except OSError:
            return False

    def _copy_in(self, handle: int, size: int, on_bytes: Callable[[int], None] | None) -> Blob:
        # The space is asked for only by a copy: a clone takes none.
        with self.writer() as writer:
            if writer.clone(handle):
                writer.rehash(on_bytes)
            else:
                require_space(self._paths.root, size)
                for chunk, done in _chunks(handle):
                    writer.write(chunk)
                    if on_bytes:
                        on_bytes(done)
            if writer.size != size:
                raise SourceError("the file changed while it was read")
            return writer.commit()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A regular file, open for reading. Raises SourceError."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for its writer for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise SourceError(f"cannot read the file: {os.strerror(error.errno or 0)}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SourceError("not a regular file")
        yield handle
    finally:
        os.close(handle)


def _chunks(handle: int) -> Iterator[tuple[bytes, int]]:
    """The content of an open file from its beginning, each piece with the count of bytes read so far."""
    done = 0
    os.lseek(handle, 0, os.SEEK_SET)
    while True:
        try:
            chunk = os.read(handle, CHUNK_BYTES)
        except OSError as error:
            raise SourceError(f"cannot read the file: {os.strerror(error.errno or 0)}") from error
        if not chunk:
            return
        done += len(chunk)
        yield chunk, done
