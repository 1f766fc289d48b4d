"""Folders for what is on its way into a store, on the store's own file system, gone afterwards whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from corral.store.disk import disk_errors, make_folder, try_lock

_PREFIX = ".corral-fetch-"
_LOCK = "lock"


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A new empty folder under `root`, quick to make; leaving removes it with all in it, which may take a while.

    Raises:
        NoSpace, StoreReadOnly, StoreError: the folder cannot be made.
    """
    with disk_errors(root):
        make_folder(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    # Held for as long as the folder is in use, and dropped by the system when its process dies.
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try_lock(handle)
        inside = folder / "files"
        inside.mkdir()
        yield inside
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove the folders of processes that were killed: those that no living process holds. Blocks its thread."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            handle = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            # Being made, or being removed; an empty one left over by a kill in between costs nothing.
            continue
        try:
            dead = try_lock(handle)
        finally:
            os.close(handle)
        if dead:
            shutil.rmtree(folder, ignore_errors=True)
