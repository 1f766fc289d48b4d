"""Where things lie in a store: Ollama's own layout (spec h.1), made only from checked names and digests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from corral.store.names import Digest, ModelName

PARTIAL_SUFFIX, JOURNAL_SUFFIX, PULL_SUFFIX = ".partial", ".journal", ".pull"


class StorePaths(msgspec.Struct, frozen=True):
    """The folders and files of the store under `root`; nothing is created by asking."""

    root: Path

    @property
    def blobs(self) -> Path:
        """The folder of everything that is named by its digest."""
        return self.root / "blobs"

    @property
    def manifests(self) -> Path:
        """The folder of manifests: host, namespace, model, tag."""
        return self.root / "manifests"

    @property
    def trash(self) -> Path:
        """The folder of manifests of deleted models that can still be restored; Ollama does not look into it."""
        return self.root / ".corral-trash"

    @property
    def lock(self) -> Path:
        """The file processes lock while they change which blobs are referenced."""
        return self.root / ".corral.lock"

    def blob(self, digest: Digest) -> Path:
        """Where the bytes of `digest` lie, if they are here."""
        return self.blobs / f"sha256-{digest.hex}"

    def partial(self, key: Digest) -> Path:
        """Where a download lies until it is whole. Not Ollama's own name: it would take the journal for one of its."""
        return self.blobs / f"corral-{key.hex}{PARTIAL_SUFFIX}"

    def journal(self, key: Digest) -> Path:
        """Where it is written which bytes of a download are there."""
        return self.blobs / f"corral-{key.hex}{JOURNAL_SUFFIX}"

    def manifest(self, name: ModelName) -> Path:
        """Where the manifest of `name` in exactly this spelling lies, if it is here."""
        return self.manifests / name.host / name.namespace / name.model / name.tag


def default_root(environ: Mapping[str, str], home: Path) -> Path:
    """The store to use: `CORRAL_MODELS`, else `OLLAMA_MODELS`, else `~/.ollama/models`."""
    for variable in ("CORRAL_MODELS", "OLLAMA_MODELS"):
        value = environ.get(variable, "").strip().strip("\"'")
        if value:
            return home / value[2:] if value.startswith("~/") else Path(value)
    return home / ".ollama" / "models"
