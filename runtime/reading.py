"""The models on disk as settings have them: what a workbench reads, and a command that only looks and finds no server.

Nothing of engines, gauges and answers is imported here, so that such a command is over soon.
"""

from __future__ import annotations

from corral.runtime.library import Library
from corral.runtime.settings import Settings
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.collection import Collection
from corral.store.paths import StorePaths


def library_of(settings: Settings, own: Catalog | None = None) -> Library:
    """Return the library over the own store, the read-only ones, and the files of other tools."""
    own = own or _catalog(StorePaths(settings.models))
    others = [_catalog(StorePaths(root)) for root in settings.models_extra]
    return Library(Collection(own, others, settings.gguf_folders, settings.aliases))


def _catalog(paths: StorePaths) -> Catalog:
    return Catalog(paths, BlobStore(paths))
