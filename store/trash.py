"""The trash of a store: manifests of deleted models, whose blobs stay until it is emptied.

It lies beside `manifests`, where neither Ollama nor a listing looks, one folder a deletion, named by its time:
`.corral-trash/<milliseconds>/manifests/<host>/<namespace>/<model>/<tag>`. A manifest gets in and out by one rename, so
whoever is interrupted leaves the model listed or in the trash. Changes hold the store's lock; `plans` counts what lies
here among the references to blobs, and empties it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corral.store.blobs import BlobStore
from corral.store.disk import disk_errors, locked, sync_folder
from corral.store.errors import BrokenManifest, CannotRestore, ModelNotFound
from corral.store.manifests import ManifestStore
from corral.store.names import ModelName
from corral.store.paths import StorePaths

__all__ = ["Deletion", "deletions", "discard", "entries", "move_in", "restore"]


@dataclass(frozen=True, slots=True)
class Deletion:
    """Models that were deleted together, at a Unix time; `folder` has their manifests, laid out as a store's."""

    folder: StorePaths
    at_s: float
    names: tuple[ModelName, ...]


def deletions(paths: StorePaths) -> tuple[Deletion, ...]:
    """What lies in the trash, oldest first."""
    found = []
    for stamp in _stamps(paths):
        folder = StorePaths(paths.trash / str(stamp))
        if names := tuple(ManifestStore(folder).names()):
            found.append(Deletion(folder, stamp / 1000, tuple(sorted(names, key=lambda name: name.key))))
    return tuple(found)


def entries(paths: StorePaths) -> Iterator[tuple[ModelName | str, str]]:
    """Every manifest in the trash, as `ManifestStore.entries` gives those of models."""
    for stamp in _stamps(paths):
        yield from ManifestStore(StorePaths(paths.trash / str(stamp))).entries()


def move_in(paths: StorePaths, names: Sequence[ModelName]) -> Deletion:
    """Make models no longer exist, so that they can be restored.

    Raises:
        ModelNotFound: all of them are gone already.
        NoSpace, StoreReadOnly, StoreError: the disk refuses; those not moved yet stay as they are.
    """
    with locked(paths.lock):
        manifests = ManifestStore(paths)
        there = {kept.key: kept for name in names if (kept := manifests.locate(name)) is not None}
        if not there:
            raise ModelNotFound(names[0].short)
        # Clocks jump; the last deletion has to be the last all the same.
        stamp = max(int(time.time() * 1000), 1 + max(_stamps(paths), default=0))
        folder = StorePaths(paths.trash / str(stamp))
        for name in there.values():
            manifests.move(name, folder)
    return Deletion(folder, stamp / 1000, tuple(there.values()))


def restore(paths: StorePaths) -> Deletion | None:
    """Bring back what was deleted last; None where nothing lies in the trash.

    Raises:
        CannotRestore: a model of that name is there again, or a part of it is gone; nothing is changed then.
        NoSpace, StoreReadOnly, StoreError: the disk refuses; what is not back yet is in the trash still.
    """
    if not deletions(paths):
        return None  # the lock would make the folder of a store that isn't there yet
    with locked(paths.lock):
        last = next(reversed(deletions(paths)), None)
        if last is None:
            return None
        for name in last.names:
            _check_restorable(paths, last.folder, name)
        for name in last.names:
            ManifestStore(last.folder).move(name, paths)
        _remove_empty(paths, last.folder)
    return last


def _check_restorable(paths: StorePaths, folder: StorePaths, name: ModelName) -> None:
    if ManifestStore(paths).locate(name) is not None:
        raise CannotRestore(f"'{name.short}' is there again: rename or delete it first, then undo")
    # One that was broken before comes back as broken as it was.
    with contextlib.suppress(BrokenManifest):
        for digest in ManifestStore(folder).read(name).digests:
            if not BlobStore(paths).has(digest):
                raise CannotRestore(f"'{name.short}' cannot be brought back: its blob {digest} is gone; pull it again")


def discard(paths: StorePaths, deletion: Deletion) -> None:
    """Remove the manifests of a deletion from the trash; the caller holds the lock, and looks after the blobs.

    Raises:
        StoreReadOnly, StoreError: the disk refuses.
    """
    manifests = ManifestStore(deletion.folder)
    for name in deletion.names:
        with contextlib.suppress(ModelNotFound):
            manifests.remove(name)
    _remove_empty(paths, deletion.folder)


def _remove_empty(paths: StorePaths, folder: StorePaths) -> None:
    # What a fault left in it keeps it, and can be restored or discarded the next time.
    with contextlib.suppress(OSError):
        folder.manifests.rmdir()
        folder.root.rmdir()
        paths.trash.rmdir()
    with disk_errors(paths.root):
        sync_folder(paths.trash if paths.trash.is_dir() else paths.root)


def _stamps(paths: StorePaths) -> list[int]:
    """The times, in milliseconds, of which there are folders; what else lies there is nobody's."""
    try:
        names = os.listdir(paths.trash)
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())
