"""Removing things: as a plan that says what it frees and who still needs what, and then as its execution.

The order is the safe one: manifests first, then blobs that no manifest names any more, then empty folders. Whoever is
interrupted in between is left with blobs too many, never with a model whose parts are gone. Execution holds the store's
lock and counts the references again, so a plan may be old.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corral.store import trash
from corral.store.blobs import Blob
from corral.store.catalog import Inventory, StoredModel, sharing
from corral.store.disk import NO_LINKS, TEMP_PREFIX, TEMP_SUFFIX, disk_errors, locked, sync_folder, try_lock
from corral.store.errors import BrokenManifest, ModelNotFound
from corral.store.manifests import Manifest, ManifestStore, decode_manifest, read_small
from corral.store.names import Digest, ModelName
from corral.store.paths import JOURNAL_SUFFIX, PARTIAL_SUFFIX, PULL_SUFFIX, StorePaths

#: What is younger may belong to somebody who has not written his manifest yet (spec h.4).
PRUNE_GRACE_S = 3600.0
#: What came of a download before it was interrupted is kept longer: Ollama loses it after the hour.
PARTIAL_GRACE_S = 7 * 24 * 3600.0

#: A manifest that cannot be read and is younger may be whole in a moment.
_BEING_WRITTEN_S = 60.0
_DIGEST_TEXT = re.compile(rb"sha256[:-]([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """What deleting some models does: `blobs` go, `kept` stay because the models in `shared_with` need them.

    So do those that `shared_with_trash` needs, models that can still be restored.
    """

    paths: StorePaths
    names: tuple[ModelName, ...]
    blobs: tuple[Blob, ...]
    kept: tuple[Blob, ...]
    shared_with: tuple[ModelName, ...]
    shared_with_trash: tuple[ModelName, ...] = ()

    @property
    def frees(self) -> int:
        """Bytes that will be free afterwards."""
        return sum(blob.size for blob in self.blobs)

    @property
    def keeps(self) -> int:
        """Bytes that stay because other models need them."""
        return sum(blob.size for blob in self.kept)


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Files that nobody needs: unreferenced blobs and what interrupted writes left."""

    paths: StorePaths
    files: tuple[Path, ...]
    frees: int


@dataclass(frozen=True, slots=True)
class TrashPlan:
    """What emptying the trash does: each deletion in it, oldest first, with the bytes no model needs; `frees` of all.

    Deletions may share blobs, so `frees` is at most the sum.
    """

    deletions: tuple[tuple[trash.Deletion, int], ...]
    frees: int


def plan_delete(inventory: Inventory, names: Sequence[ModelName]) -> DeletePlan:
    """Plan to delete models; one whose manifest is broken can be deleted too.

    Raises:
        ModelNotFound: the first of `names` that is not there.
    """
    chosen: list[StoredModel] = []
    broken: list[ModelName] = []
    for name in names:
        model = inventory.get(name)
        unreadable = next((other for other in inventory.broken if other.key == name.key), None)
        if model is not None:
            chosen.append(model)
        elif unreadable is not None:
            broken.append(unreadable)
        else:
            raise ModelNotFound(name.short)
    keys = {model.name.key for model in chosen}
    used = {digest for m in inventory.models if m.name.key not in keys for digest in m.manifest.digests}
    wanted = {digest for model in chosen for digest in model.manifest.digests}
    in_trash = {
        name: shared
        for name, path in trash.entries(inventory.paths)
        if isinstance(name, ModelName) and (shared := _digests_in(path) & wanted)
    }
    used |= {digest for shared in in_trash.values() for digest in shared}
    mine = _sizes(inventory.paths, wanted)
    sharers = {m.name.key: m.name for model in chosen for m in sharing(inventory, model.manifest, _names(chosen))}
    return DeletePlan(
        paths=inventory.paths,
        names=tuple({name.key: name for name in (*_names(chosen), *broken)}.values()),
        blobs=tuple(blob for blob in mine if blob.digest not in used),
        kept=tuple(blob for blob in mine if blob.digest in used),
        shared_with=tuple(sharers[key] for key in sorted(sharers)),
        shared_with_trash=tuple(sorted(in_trash, key=lambda name: name.key)),
    )


def execute(plan: DeletePlan | PrunePlan) -> int:
    """Do what the plan says, as far as it is still right.

    Returns:
        The bytes freed.

    Raises:
        ModelNotFound: all the models of the plan are gone already.
        StoreReadOnly, StoreError: the disk refuses.
    """
    with locked(plan.paths.lock):
        if isinstance(plan, PrunePlan):
            return _execute_prune(plan)
        manifests = ManifestStore(plan.paths)
        digests = {blob.digest for blob in plan.blobs}
        removed = 0
        for name in plan.names:
            with contextlib.suppress(BrokenManifest, ModelNotFound):
                # It may have been replaced since the plan was made; then its new parts go with it.
                digests |= _mentioned(manifests.read_bytes(name))
            with contextlib.suppress(ModelNotFound):
                manifests.remove(name)
                removed += 1
        if plan.names and not removed:
            raise ModelNotFound(plan.names[0].short)
        return _remove_unreferenced(plan.paths, digests)


def prune_after_replace(paths: StorePaths, old: Manifest | None) -> int:
    """Remove the blobs that only an overwritten manifest needed; call after the new one is written.

    Returns:
        The bytes freed.

    Raises:
        StoreReadOnly, StoreError: the disk refuses.
    """
    return 0 if old is None else remove_unreferenced(paths, old.digests)


def remove_unreferenced(paths: StorePaths, digests: Iterable[Digest]) -> int:
    """Remove those of some blobs that no manifest names.

    Returns:
        The bytes freed.

    Raises:
        StoreReadOnly, StoreError: the disk refuses.
    """
    with locked(paths.lock):
        return _remove_unreferenced(paths, digests)


def plan_prune(inventory: Inventory, now: float | None = None) -> PrunePlan:
    """Plan what a start cleans up (spec h.4): nothing as long as a manifest is broken, for it may need anything.

    `now` is a Unix time, for tests.
    """
    if inventory.broken:
        return PrunePlan(inventory.paths, (), 0)
    now = time.time() if now is None else now
    digests = {digest for model in inventory.models for digest in model.manifest.digests}
    for _, path in trash.entries(inventory.paths):
        digests |= _digests_in(path)
    used = {inventory.paths.blob(digest).name for digest in digests}
    files: list[Path] = []
    frees = 0
    staged = inventory.paths.manifests.glob(f"{TEMP_PREFIX}*{TEMP_SUFFIX}")
    with contextlib.suppress(FileNotFoundError):
        for file in sorted([*staged, *inventory.paths.blobs.iterdir()]):
            with contextlib.suppress(FileNotFoundError):
                info = file.lstat()
                if file.name not in used and info.st_mtime < now - _grace_s(file) and not file.is_dir():
                    files.append(file)
                    frees += info.st_size
    return PrunePlan(inventory.paths, tuple(files), frees)


def plan_trash(inventory: Inventory) -> TrashPlan:
    """Say what lies in the trash, and what emptying it would free."""
    used = {digest for model in inventory.models for digest in model.manifest.digests}
    found = []
    unused: set[Digest] = set()
    for deletion in trash.deletions(inventory.paths):
        digests = _digests_of(deletion) - used
        unused |= digests
        found.append((deletion, sum(blob.size for blob in _sizes(inventory.paths, digests))))
    return TrashPlan(tuple(found), sum(blob.size for blob in _sizes(inventory.paths, unused)))


def empty_trash(paths: StorePaths, before_s: float = math.inf) -> int:
    """Delete for good what lies in the trash since before a Unix time, and its blobs that nobody needs.

    Returns:
        The bytes freed.

    Raises:
        StoreReadOnly, StoreError: the disk refuses.
    """
    if not any(deletion.at_s < before_s for deletion in trash.deletions(paths)):
        return 0  # the lock would make the folder of a store that isn't there yet
    with locked(paths.lock):
        digests: set[Digest] = set()
        for deletion in trash.deletions(paths):
            if deletion.at_s < before_s:
                digests |= _digests_of(deletion)
                trash.discard(paths, deletion)
        return _remove_unreferenced(paths, digests)


def _digests_of(deletion: trash.Deletion) -> set[Digest]:
    return {digest for name in deletion.names for digest in _digests_in(str(deletion.folder.manifest(name)))}


def _digests_in(path: str) -> set[Digest]:
    """What the manifest in a file names; nothing where it went meanwhile or cannot be read."""
    try:
        return _mentioned(read_small(path)[0])
    except (OSError, BrokenManifest):
        return set()


def _execute_prune(plan: PrunePlan) -> int:
    referenced = _referenced(plan.paths)
    if referenced is None:
        return 0
    used = {plan.paths.blob(digest).name for digest in referenced}
    now = time.time()
    freed = 0
    with disk_errors(plan.paths.root):
        for path in plan.files:
            with contextlib.suppress(FileNotFoundError):
                info = path.lstat()
                # Somebody may have wanted it again since the plan was made, which makes it young.
                if path.name not in used and info.st_mtime < now - _grace_s(path) and not _is_at_work(path):
                    path.unlink()
                    freed += info.st_size
        if plan.files:
            sync_folder(plan.paths.blobs)
    return freed


def _is_at_work(path: Path) -> bool:
    """Whether a process writes this file right now, however old it looks: clocks jump."""
    if path.suffix == JOURNAL_SUFFIX:
        path = path.with_suffix(PARTIAL_SUFFIX)
    if not path.name.startswith(TEMP_PREFIX):
        return False
    try:
        handle = os.open(path, os.O_RDONLY | NO_LINKS | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return not try_lock(handle)
    finally:
        os.close(handle)


def _grace_s(path: Path) -> float:
    return PARTIAL_GRACE_S if path.suffix in {PARTIAL_SUFFIX, JOURNAL_SUFFIX, PULL_SUFFIX} else PRUNE_GRACE_S


def _remove_unreferenced(paths: StorePaths, digests: Iterable[Digest]) -> int:
    """Remove those of `digests` that no manifest names. The caller holds the lock."""
    referenced = _referenced(paths)
    if referenced is None:
        return 0
    unused = sorted(set(digests) - referenced)
    freed = 0
    with disk_errors(paths.root):
        for digest in unused:
            path = paths.blob(digest)
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        if unused and paths.blobs.is_dir():
            sync_folder(paths.blobs)
    return freed


def _referenced(paths: StorePaths) -> set[Digest] | None:
    """Every digest any manifest names, one in the trash too.

    Returns:
        None if a manifest may not even be read, or is being written: then nothing is known to be unneeded.
    """
    found: set[Digest] = set()
    for _, path in (*ManifestStore(paths).entries(), *trash.entries(paths)):
        try:
            data, changed = read_small(path)
        except (FileNotFoundError, BrokenManifest):
            # Gone, or nothing that was ever a manifest.
            continue
        except OSError:
            return None
        try:
            found |= decode_manifest(data).digests
        except BrokenManifest:
            # Ollama writes over the old one in place, without a lock.
            if changed > time.time() - _BEING_WRITTEN_S:
                return None
            found |= _mentioned(data)
    return found


def _mentioned(data: bytes) -> set[Digest]:
    """The digests a manifest names; of a broken one, everything in it that looks like a digest."""
    try:
        return set(decode_manifest(data).digests)
    except BrokenManifest:
        return {Digest(match.decode().lower()) for match in _DIGEST_TEXT.findall(data)}


def _sizes(paths: StorePaths, digests: Iterable[Digest]) -> tuple[Blob, ...]:
    """What of `digests` is on disk, with its real size."""
    blobs: list[Blob] = []
    for digest in sorted(digests):
        with contextlib.suppress(OSError):
            blobs.append(Blob(digest, paths.blob(digest).stat().st_size))
    return tuple(blobs)


def _names(models: Iterable[StoredModel]) -> tuple[ModelName, ...]:
    return tuple(model.name for model in models)
