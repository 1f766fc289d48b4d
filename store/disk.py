"""The few operations on a file system that must survive a crash, a full disk and other processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from corral.store.errors import NoSpace, StoreError, StoreReadOnly

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Names of files that are being written; Ollama prunes them after an hour because they are no digests.
TEMP_PREFIX = "corral-"
TEMP_SUFFIX = ".tmp"

#: For opening what only we make: a link under its name is somebody's trap.
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)

_LOCK_TIMEOUT_S = 60.0
_LOCK_POLL_S = 0.02
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def megabytes(size: int) -> str:
    """A byte count as a person reads it, decimal as Ollama's (`98 MB`, `1.5 GB`)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size} B"


def free_bytes(path: Path) -> int:
    """Bytes this user may still write where `path` lies (or would lie)."""
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


@contextlib.contextmanager
def disk_errors(root: Path, needed: int = 0) -> Iterator[None]:
    """Turn what the system says about a write under `root` into errors a user can act on.

    No path is put into the messages: they travel to clients of the API.

    Raises:
        NoSpace: the disk or the quota is full; with `needed` bytes and what is free.
        StoreReadOnly: this user may not write there.
        StoreError: any other failure of the disk.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _FULL:
            wanted = f"{megabytes(needed)} needed, " if needed else ""
            raise NoSpace(f"not enough disk space for the model: {wanted}{megabytes(free_bytes(root))} free") from error
        if error.errno in _FORBIDDEN:
            raise StoreReadOnly(
                f"the model folder cannot be written ({reason}); set CORRAL_MODELS to one that can"
            ) from error
        raise StoreError(f"the model folder failed: {reason}") from error


def require_space(root: Path, needed: int) -> None:
    """Refuse early what cannot fit.

    Raises:
        NoSpace: fewer than `needed` bytes are free under `root`.
    """
    free = free_bytes(root)
    if needed > free:
        raise NoSpace(f"not enough disk space for the model: {megabytes(needed)} needed, {megabytes(free)} free")


def make_folder(path: Path) -> None:
    """Create `path` and what is above it, durably; 0755 as Ollama's, so that both can share a store."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in reversed(missing):
        # Above the store there may be folders that this user passes through and may not read.
        with contextlib.suppress(PermissionError):
            sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Make renames and removals in `path` survive a power cut, where the system lets folders be synced."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_temp(folder: Path) -> tuple[int, Path]:
    """A new file in `folder` under a name nobody takes for a blob; the caller renames or removes it."""
    handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, suffix=TEMP_SUFFIX, dir=folder)
    return handle, Path(name)


def share_file(handle: int, path: Path) -> None:
    """0644, so that Ollama under another user can read what we wrote."""
    if sys.platform == "win32":
        path.chmod(0o644)
    else:
        os.fchmod(handle, 0o644)


def replace_file(path: Path, data: bytes, staging: Path | None = None) -> None:
    """Write `data` to `path` so that after a crash the old or the new file is there, never a part.

    Until then it lies in `staging`, a folder of the same file system; beside `path` where none is given.

    Raises:
        OSError: as the system says it; the temporary file is gone then.
    """
    handle, temp = open_temp(staging or path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            share_file(file.fileno(), temp)
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_lock(handle: int) -> bool:
    """Take the exclusive lock of an open file without waiting; it goes with the handle.

    Returns:
        Whether it was taken. True also where the file system has no locks: working on beats refusing.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS_HERE
    return True


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold the store's lock file against other threads and processes; not re-entrant, blocks its thread.

    Raises:
        StoreReadOnly, StoreError: the file cannot be made, or somebody holds it for a minute.
    """
    with disk_errors(lock.parent):
        make_folder(lock.parent)
        # Read-only access is enough for a lock, and lets two users share one store.
        handle = os.open(lock, os.O_RDONLY | os.O_CREAT | NO_LINKS, 0o644)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while not try_lock(handle):
            if time.monotonic() > deadline:
                raise StoreError("another process has been changing the model folder for a minute; try again")
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)
