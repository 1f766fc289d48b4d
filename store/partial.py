"""A file that is on its way in, and a journal of which of its bytes are safely on the disk.

The journal survives a kill and a power cut: a range is written into it only after its bytes were synced. Both files
lie in the blobs folder under names that nobody takes for a blob.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from corral.store.blobs import CHUNK_BYTES, Blob
from corral.store.disk import (
    NO_LINKS,
    disk_errors,
    make_folder,
    replace_file,
    require_space,
    share_file,
    sync_folder,
    try_lock,
)
from corral.store.errors import DigestMismatch, StoreError
from corral.store.names import Digest
from corral.store.paths import StorePaths
from corral.store.ranges import Ranges, Span


class _Head(msgspec.Struct, frozen=True):
    """The journal's first line. `identity` tells one content of an address from another where no digest does."""

    size: int
    identity: str = ""


class Partial:
    """The file of one download. Used from any thread, one call at a time in effect; `close` ends every use."""

    def __init__(self, paths: StorePaths, key: Digest, size: int, identity: str, handle: int) -> None:
        self._paths = paths
        self._path = paths.partial(key)
        self._journal_path = paths.journal(key)
        self._size = size
        self._lock = threading.Lock()
        self._handle = handle
        self._journal = -1
        self.ranges = Ranges(self._read_journal(_Head(size, identity)))
        self._begin(_Head(size, identity))

    @classmethod
    def open(cls, paths: StorePaths, key: Digest, size: int, identity: str = "") -> Partial | None:
        """Take up the file of `key` where it was left, or begin it.

        Returns:
            None as long as somebody else, here or in another process, is at it.

        Raises:
            NoSpace: what is missing does not fit.
            StoreReadOnly, StoreError: the disk refuses.
        """
        path = paths.partial(key)
        with disk_errors(paths.root, size):
            make_folder(paths.blobs)
            # A link would have us write somewhere else.
            found: Partial | None = None
            handle = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS | getattr(os, "O_BINARY", 0), 0o644)
            try:
                # Whoever held it may have given it its name, or removed it, while we opened it.
                if try_lock(handle) and _is_still(handle, path):
                    found = cls(paths, key, size, identity, handle)
                return found
            finally:
                if found is None:
                    os.close(handle)

    def _read_journal(self, expected: _Head) -> Iterable[Span]:
        try:
            lines = self._journal_path.read_bytes().split(b"\n")
            if msgspec.json.decode(lines[0], type=_Head) != expected:
                return ()
            # The file may have been cut since, and the journal's last line have come in part.
            there = os.fstat(self._handle).st_size
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return ()
        spans = []
        for line in lines[1:-1]:
            try:
                start, end = msgspec.json.decode(line, type=tuple[int, int])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            if not 0 <= start < end <= min(there, expected.size):
                break
            spans.append(Span(start, end))
        return spans

    def _begin(self, head: _Head) -> None:
        require_space(self._paths.root, self._size - self.ranges.total)
        lines = [msgspec.json.encode(head), *(msgspec.json.encode(span) for span in self.ranges.spans())]
        replace_file(self._journal_path, b"\n".join(lines) + b"\n")
        # Only now: beside the journal of an older file, whose bytes are gone, this one would look as if it were whole.
        os.truncate(self._handle, self._size)
        self._journal = os.open(self._journal_path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Put bytes in their place; they count only after `sync`.

        Raises:
            NoSpace, StoreReadOnly, StoreError: the disk refuses.
        """
        with self._lock, disk_errors(self._paths.root, self._size), memoryview(data) as view:
            self._require_open()
            os.lseek(self._handle, offset, os.SEEK_SET)
            done = 0
            while done < len(view):
                done += os.write(self._handle, view[done:])

    def sync(self, spans: Iterable[Span]) -> None:
        """Make bytes that were written durable, and note them.

        Raises:
            NoSpace, StoreReadOnly, StoreError: the disk refuses.
        """
        with self._lock, disk_errors(self._paths.root, self._size):
            self._require_open()
            self._sync(spans)

    def _sync(self, spans: Iterable[Span]) -> None:
        lines = b"".join(msgspec.json.encode(span) + b"\n" for span in spans)
        if lines:
            os.fsync(self._handle)
            os.write(self._journal, lines)
            os.fsync(self._journal)

    def digest(self) -> Digest:
        """The sha256 of what the file holds now.

        Raises:
            StoreError: it cannot be read, or was closed meanwhile.
        """
        sha = hashlib.sha256()
        offset = 0
        while True:
            with self._lock, disk_errors(self._paths.root):
                self._require_open()
                os.lseek(self._handle, offset, os.SEEK_SET)
                chunk = os.read(self._handle, CHUNK_BYTES)
            if not chunk:
                return Digest(sha.hexdigest())
            sha.update(chunk)
            offset += len(chunk)

    @property
    def path(self) -> Path:
        """The file, for a look at it before it has its name."""
        return self._path

    def commit(self, expected: Digest | None = None) -> Blob:
        """Check the bytes and give them their name.

        Raises:
            DigestMismatch: they are not what was expected; they are removed then.
            NoSpace, StoreReadOnly, StoreError: the disk refuses.
        """
        digest = self.digest()
        if expected is not None and digest != expected:
            self.discard()
            raise DigestMismatch(str(expected), str(digest))
        with self._lock, disk_errors(self._paths.root, self._size):
            self._require_open()
            share_file(self._handle, self._path)
            # It may have come hours ago; a clean-up before its manifest is written would take it for nobody's.
            os.utime(self._path)
            os.fsync(self._handle)
            self._path.replace(self._paths.blob(digest))
            sync_folder(self._paths.blobs)
            self._journal_path.unlink(missing_ok=True)
        return Blob(digest, self._size)

    def discard(self) -> None:
        """Remove what came."""
        with self._lock, contextlib.suppress(OSError):
            self._journal_path.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def close(self, spans: Iterable[Span] = ()) -> None:
        """Note what was written last, and let go; what came is kept for the next time."""
        with self._lock:
            if self._handle < 0:
                return
            # Whoever leaves early has a reason of his own to tell.
            with contextlib.suppress(OSError):
                self._sync(spans)
            # Forgotten before they are closed: closed twice, a number may be somebody else's file by then.
            handles = self._journal, self._handle
            self._handle = self._journal = -1
            for handle in handles:
                with contextlib.suppress(OSError):
                    os.close(handle)

    def _require_open(self) -> None:
        if self._handle < 0:
            raise StoreError("the download was stopped")


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
