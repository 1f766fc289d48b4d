"""A store in a temporary folder, and models to put into it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.manifests import Layer, ManifestStore, MediaType, ModelConfig
from corral.store.names import ModelName
from corral.store.paths import StorePaths


class Stocked:
    """The parts of one store, and a short way to make models in it."""

    def __init__(self, root: Path) -> None:
        self.paths = StorePaths(root)
        self.blobs = BlobStore(self.paths)
        self.manifests = ManifestStore(self.paths)
        self.catalog = Catalog(self.paths, self.blobs)

    def layer(self, data: bytes, kind: str = MediaType.MODEL) -> Layer:
        blob = self.blobs.put_bytes(data)
        return Layer(kind, blob.digest, blob.size)

    def model(self, name: str, *parts: bytes, family: str = "llama") -> str:
        layers = [self.layer(part) for part in parts]
        return self.manifests.write(ModelName.parse(name), ModelConfig(model_family=family), layers)

    def files(self) -> set[str]:
        """Everything on disk but the lock, relative to the root."""
        found = (Path(folder, file) for folder, _, files in os.walk(self.paths.root) for file in files)
        return {path.relative_to(self.paths.root).as_posix() for path in found} - {self.paths.lock.name}

    def blob_file(self, data: bytes) -> str:
        return f"blobs/sha256-{hashlib.sha256(data).hexdigest()}"
