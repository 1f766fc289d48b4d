"""Fetching models: which source a name means, and what becomes of what it brings."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from corral.runtime.create import Creator
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.blobs import BlobStore
from corral.store.errors import SourceError
from corral.store.names import ModelName


class Puller:
    """Pulls by source. Used by the service loop."""

    def __init__(self, blobs: BlobStore, creator: Creator) -> None:
        self._blobs = blobs
        self._creator = creator

    async def pull(self, model: str) -> AsyncGenerator[Progress, None]:
        raise SourceError("no")
        yield Progress("x")
