"""What models there are: one immutable inventory per scan, with everything that is broken collected as warnings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from corral.store.blobs import BlobStore
from corral.store.errors import BlobNotFound, BrokenManifest, ModelNotFound
from corral.store.manifests import (
    Layer,
    Manifest,
    ManifestStore,
    ModelConfig,
    decode_config,
    decode_manifest,
    read_small,
)
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths

_SETTLED_NS = 2 * 10**9


class Files(Protocol):
    """Where the parts of a model lie, all below `root`."""

    @property
    def root(self) -> Path:
        """The folder whose owner may change them."""
        ...

    def blob(self, digest: Digest) -> Path:
        """Where the bytes of a part lie, if they are here."""
        ...


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on disk. `digest` is the hex sha256 of its manifest file, `size` the bytes of all its parts.

    `alias_of` is the name of the model itself where this is another word for it in the settings.
    """

    name: ModelName
    digest: str
    size: int
    modified_at: datetime
    manifest: Manifest
    config: ModelConfig
    files: Files
    alias_of: str = ""

    def path(self, layer: Layer) -> Path:
        """The file of a layer.

        Raises:
            BlobNotFound: it is not here.
        """
        path = self.files.blob(layer.digest)
        if not path.is_file():
            raise BlobNotFound(f"blob {layer.digest} is missing from the store; pull or create its model again")
        return path

    def layers(self, media_type: str) -> tuple[Layer, ...]:
        """The layers of one kind, in the order of the manifest."""
        return tuple(layer for layer in self.manifest.layers if layer.media_type == media_type)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A store at one moment: its models, newest first, and what could not be read and why.

    `broken` names manifests that are there but cannot be read, so that they can be removed.
    """

    paths: StorePaths
    models: tuple[StoredModel, ...]
    warnings: tuple[str, ...] = ()
    broken: tuple[ModelName, ...] = ()

    def get(self, name: ModelName) -> StoredModel | None:
        """The model of that name in any spelling."""
        return next((model for model in self.models if model.name.key == name.key), None)


class Catalog:
    """Reads inventories of a store; safe from any thread. What it read is kept for as long as its file is the same."""

    def __init__(self, paths: StorePaths, blobs: BlobStore) -> None:
        self._paths = paths
        self._blobs = blobs
        self._manifests = ManifestStore(paths)
        self._read: dict[str, tuple[tuple[int, ...], StoredModel]] = {}
        self._spelled: dict[ModelName, str] = {}

    @property
    def paths(self) -> StorePaths:
        """The layout of the store."""
        return self._paths

    def scan(self) -> Inventory:
        """Read every manifest and config. One that is broken, or goes meanwhile, never hides the others."""
        models: list[StoredModel] = []
        warnings: list[str] = []
        broken: list[ModelName] = []
        seen: set[str] = set()
        for name, path in self._manifests.entries():
            if isinstance(name, str):
                warnings.append(f"{name}: not a model name, ignored")
                continue
            try:
                models.append(self._load(name, path))
                seen.add(path)
            except FileNotFoundError:
                continue
            except (BrokenManifest, OSError) as error:
                reason = error.strerror or "unreadable" if isinstance(error, OSError) else str(error)
                warnings.append(f"{name.short}: {reason}")
                broken.append(name)
        self._read = {path: kept for path, kept in list(self._read.items()) if path in seen}
        models.sort(key=newest_first)
        return Inventory(self._paths, tuple(models), tuple(sorted(warnings)), tuple(sorted(broken, key=_by_name)))

    def find(self, name: ModelName) -> StoredModel:
        """One model, by its name in any spelling.

        Raises:
            ModelNotFound: there is none.
            BrokenManifest: its manifest or config cannot be read.
        """
        if path := self._spelled.get(name):  # as it was asked for before, so no folder need be read
            with contextlib.suppress(OSError):
                return self._load(name, path)
            self._spelled.pop(name, None)
        kept = self._manifests.locate(name)
        if kept is None:
            raise ModelNotFound(name.short)
        path = str(self._paths.manifest(kept))
        if kept == name:
            self._spelled[name] = path
        try:
            return self._load(kept, path)
        except FileNotFoundError:
            raise ModelNotFound(name.short) from None
        except OSError as error:
            raise BrokenManifest(f"the manifest of '{name.short}' cannot be read: {error.strerror}") from error

    def unchanged(self, name: ModelName) -> StoredModel | None:
        """The model of that name if it was found before in this spelling and its file is still the same.

        One `stat`, some microseconds: for who cannot wait for a thread. None means: `find` it.
        """
        path = self._spelled.get(name)
        known = self._read.get(path) if path is not None else None
        if path is None or known is None:
            return None
        with contextlib.suppress(OSError):
            return known[1] if _signature(os.stat(path)) == known[0] else None
        return None

    def _load(self, name: ModelName, path: str) -> StoredModel:
        info = os.stat(path)
        signature = _signature(info)
        known = self._read.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        data, changed = read_small(path)
        manifest = decode_manifest(data)
        try:
            config, _ = read_small(self._paths.blob(manifest.config.digest))
        except FileNotFoundError:
            raise BrokenManifest(f"its config {manifest.config.digest} is missing from the store") from None
        modified = datetime.fromtimestamp(changed, UTC).astimezone()
        digest = hashlib.sha256(data).hexdigest()
        model = StoredModel(name, digest, manifest.size, modified, manifest, decode_config(config), self._paths)
        # A second change within the same tick of the clock would go unseen, so what is young is read again.
        if info.st_mtime_ns < time.time_ns() - _SETTLED_NS:
            self._read[path] = (signature, model)
        return model


def _signature(info: os.stat_result) -> tuple[int, ...]:
    """What of a file tells one content from the next."""
    return (info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns)


def newest_first(model: StoredModel) -> tuple[float, tuple[str, str, str, str]]:
    """What models are sorted by: the time of change, then the name."""
    return (-model.modified_at.timestamp(), model.name.key)


def _by_name(name: ModelName) -> tuple[str, str, str, str]:
    return name.key


def sharing(inventory: Inventory, manifest: Manifest, besides: Iterable[ModelName]) -> tuple[StoredModel, ...]:
    """The models that have a part in common with `manifest`, but for those named."""
    excluded = {name.key for name in besides}
    return tuple(
        model
        for model in inventory.models
        if model.name.key not in excluded and model.manifest.digests & manifest.digests
    )
