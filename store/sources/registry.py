"""Models of registries (spec i.1): `[http(s)://][host/][namespace/]model[:tag]`, Ollama's, hf.co's and any of OCI."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from corral.store.blobs import Blob, BlobStore
from corral.store.disk import require_space
from corral.store.errors import BlobNotFound, SourceError, StoreError
from corral.store.manifests import Layer, Manifest, ManifestStore, MediaType
from corral.store.names import Digest, ModelName
from corral.store.plans import prune_after_replace
from corral.store.progress import Progress
from corral.store.registries import Registries
from corral.store.registry import Repository, checked
from corral.store.retry import Again, Patience, RateLimit
from corral.store.sources.huggingface import HubSource
from corral.store.sources.url import UrlSource
from corral.store.transfer import Download, Downloads, Pace
from corral.store.web import Refused, Web

_ASIDE = Patience(tries=1)
_MOST_ROUNDS = 4
_EMPTY = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@dataclass(frozen=True, slots=True)
class Announced:
    """What a registry's manifest says of a model: its digest in hex, bytes of all `parts` and of the weights among
    them; `needed` bytes of `missing` parts are not here yet.
    """

    digest: str
    size: int
    needed: int
    parts: int
    missing: int
    weights: int


class NoManifest(SourceError):
    """The registry has no manifest of that name, or gives it to nobody or not to us."""


class RegistrySource:
    """Pulls models into a store. Owned by one loop; what several pull at once comes once."""

    def __init__(
        self,
        blobs: BlobStore,
        registries: Registries,
        *,
        downloads: Downloads | None = None,
        prune: bool = True,
        patience: Patience | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._blobs = blobs
        self._manifests = ManifestStore(blobs.paths)
        self._registries = registries
        self._downloads = downloads or Downloads()
        self._prune = prune
        self._patience = patience or Patience()
        self._pace = pace
        self._webs: dict[bool, Web] = {}

    async def close(self) -> None:
        """Close every connection."""
        for web in self._webs.values():
            await web.close()

    def url_source(self, *, insecure: bool = False) -> UrlSource:
        """What fetches single files over the same connections."""
        return UrlSource(self._web(insecure), self._downloads, patience=self._patience, pace=self._pace)

    def hub_source(self) -> HubSource:
        """What fetches from Hugging Face's file API over the same connections."""
        return HubSource(
            self._web(False), self._downloads, self._registries.hub, patience=self._patience, pace=self._pace
        )

    def _web(self, insecure: bool) -> Web:
        # Not one a pull: a download that several wait for must not end with him who began it.
        return self._webs.setdefault(insecure, Web(insecure=insecure, patience=self._patience))

    async def pull(
        self, text: str, *, insecure: bool = False, limit: RateLimit | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Bring a model in under its own name, with Ollama's statuses (spec a.16).

        Closing the generator stops it; what came of its files is kept for the next time.

        Raises:
            InvalidName: the text is no name.
            SourceError: the registry has no such model, or fails.
            DigestMismatch, NoSpace, StoreReadOnly, StoreError: see `transfer.Download`.
        """
        name = ModelName.parse(text)
        yield Progress("pulling manifest")
        repository, data = await self._find(self._web(insecure), name, scheme_of(text), insecure)
        manifest = checked(data)
        for left in reversed(range(_MOST_ROUNDS)):
            async with aclosing(self._fetch(repository, manifest, limit)) as steps:
                async for step in steps:
                    yield step
            yield Progress("verifying sha256 digest")
            yield Progress("writing manifest")
            try:
                old = await asyncio.to_thread(self._write, name, data)
                break
            except BlobNotFound:
                # Somebody deleted a model that had it too, and knew nothing of ours yet.
                if not left:
                    raise
        if self._prune and old is not None and old.digests - manifest.digests:
            yield Progress("removing unused layers")
            await asyncio.to_thread(prune_after_replace, self._blobs.paths, old)
        yield Progress("success")

    async def plan(self, text: str, *, insecure: bool = False) -> Announced:
        """Ask what a pull would fetch, and fetch nothing.

        Raises:
            InvalidName, SourceError: as `pull`.
        """
        name = ModelName.parse(text)
        _, data = await self._find(self._web(insecure), name, scheme_of(text), insecure)
        manifest = checked(data)
        parts = {part.digest: part for part in (*manifest.layers, manifest.config)}
        missing = [part for part in parts.values() if not self._is_there(part)]
        return Announced(
            digest=hashlib.sha256(data).hexdigest(),
            size=sum(part.size for part in parts.values()),
            needed=await asyncio.to_thread(self._needed, missing),
            parts=len(parts),
            missing=len(missing),
            weights=sum(part.size for part in manifest.layers if part.media_type == MediaType.MODEL),
        )

    def _is_there(self, part: Layer) -> bool:
        with contextlib.suppress(OSError):
            return self._blobs.paths.blob(part.digest).stat().st_size == part.size
        return False

    async def _find(self, web: Web, name: ModelName, scheme: str, insecure: bool) -> tuple[Repository, bytes]:
        """The first place that has the manifest, and the manifest.

        Raises:
            SourceError: the last of them has it not, or is not to be asked.
        """
        *mirrors, own = self._registries.bases(name, scheme)
        for base in mirrors:
            repository = Repository(web, base, name, self._registries.identity, _ASIDE)
            with contextlib.suppress(SourceError):
                return repository, await repository.manifest()
        if own.startswith("http://") and not insecure and not self._registries.trusts(own):
            raise SourceError("insecure protocol http")
        repository = Repository(web, own, name, self._registries.identity, self._patience)
        try:
            return repository, await repository.manifest()
        except Refused as error:
            reason = "file does not exist" if error.status == 404 else str(error)
            raise NoManifest(f"pull model manifest: {reason}") from error
        except SourceError as error:
            raise SourceError(f"pull model manifest: {error}") from error

    async def _fetch(
        self, repository: Repository, manifest: Manifest, limit: RateLimit | None
    ) -> AsyncGenerator[Progress, None]:
        parts = {part.digest: part for part in (*manifest.layers, manifest.config)}
        there = await asyncio.to_thread(self._there, parts)
        missing = [part for digest, part in parts.items() if digest not in there]
        whole, number = sum(part.size for part in parts.values()), len(parts)
        await asyncio.to_thread(require_space, self._blobs.paths.root, self._needed(missing))
        for digest, part in parts.items():
            status = f"pulling {digest.short}"
            if digest in there:
                yield Progress(status, str(digest), part.size, part.size, whole, number)
                continue
            yield Progress(status, str(digest), part.size, 0, whole, number)
            make = self._maker(repository, part, limit)
            try:
                async with aclosing(self._downloads.follow(repository.base, digest, make)) as steps:
                    async for completed in steps:
                        if not isinstance(completed, Blob):
                            yield Progress(status, str(digest), part.size, completed, whole, number)
            except Again as error:
                raise SourceError(str(error)) from error

    def _maker(self, repository: Repository, part: Layer, limit: RateLimit | None) -> Callable[[], Download]:
        return lambda: Download(
            self._blobs.paths,
            repository.blob(part),
            part.size,
            part.digest,
            limit=limit,
            patience=self._patience,
            pace=self._pace,
        )

    def _there(self, parts: dict[Digest, Layer]) -> set[Digest]:
        """The parts that need not be fetched; a file of another size than announced is fetched again."""
        found: set[Digest] = set()
        for digest, part in parts.items():
            path = self._blobs.paths.blob(digest)
            with contextlib.suppress(OSError):
                if path.stat().st_size == part.size:
                    # A fresh time tells Ollama's clean-up, and ours, that the blob is wanted again.
                    with contextlib.suppress(OSError):
                        os.utime(path)
                    found.add(digest)
        if _EMPTY in parts and _EMPTY not in found:
            found.add(self._empty())
        return found

    def _empty(self) -> Digest:
        blob: Blob = self._blobs.put_bytes(b"")
        return blob.digest

    def _needed(self, missing: list[Layer]) -> int:
        """Bytes that the disk has still to take: what came of an interrupted download lies there already."""
        needed = sum(part.size for part in missing)
        for part in missing:
            with contextlib.suppress(OSError):
                needed -= _allocated(self._blobs.paths.partial(part.digest).stat())
        return max(0, needed)

    def _write(self, name: ModelName, data: bytes) -> Manifest | None:
        """Make the model exist; returns what its name meant before."""
        old: Manifest | None = None
        with contextlib.suppress(StoreError):
            old = self._manifests.read(name)
        self._manifests.write_bytes(name, data)
        return old


def _allocated(info: os.stat_result) -> int:
    blocks: int = getattr(info, "st_blocks", 0)
    return blocks * 512


def scheme_of(text: str) -> str:
    """The scheme a name begins with; https where it says none, or one that registries do not have."""
    return "http" if text.lower().startswith("http://") else "https"
