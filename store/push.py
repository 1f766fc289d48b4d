"""Sending a model to a registry (spec i.3): what it lacks of the blobs, in parts, and the manifest last."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin

import msgspec

from corral.store.blobs import CHUNK_BYTES, BlobStore
from corral.store.errors import InvalidName, SourceError
from corral.store.manifests import Layer, ManifestStore, decode_manifest
from corral.store.names import ModelName
from corral.store.progress import Progress
from corral.store.registries import Registries
from corral.store.registry import MANIFEST_TYPE, Repository
from corral.store.retry import Again, Attempts, Patience
from corral.store.sources.registry import scheme_of
from corral.store.web import Refused, Web, check_target

PART_BYTES = 64 << 20
_STEP_S = 0.06
_DENIED = frozenset({401, 403})
_UNCLEAR = frozenset({401, 416})


@dataclass(slots=True)
class _Sent:
    """How much of a blob is with the registry; what has to be sent again does not count twice."""

    completed: int = 0

    def reach(self, completed: int) -> None:
        self.completed = max(self.completed, completed)


class Pusher:
    """Pushes models out of a store. Owned by one loop."""

    def __init__(
        self,
        blobs: BlobStore,
        registries: Registries,
        *,
        patience: Patience | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._blobs = blobs
        self._manifests = ManifestStore(blobs.paths)
        self._registries = registries
        self._patience = patience or Patience()
        self._part_bytes = part_bytes

    async def push(self, text: str, *, insecure: bool = False) -> AsyncGenerator[Progress, None]:
        """Send a model, with Ollama's statuses (spec a.17). Closing the generator stops it.

        Raises:
            InvalidName, ModelNotFound, BrokenManifest, BlobNotFound: there is no such model, or it is damaged.
            SourceError: the registry does not take it.
        """
        name = ModelName.parse(text)
        yield Progress("retrieving manifest")
        data = await asyncio.to_thread(self._manifests.read_bytes, name)
        manifest = decode_manifest(data)
        base = self._registries.bases(name, scheme_of(text))[-1]
        if base.startswith("http://") and not insecure and not self._registries.trusts(base):
            raise SourceError("insecure protocol http")
        web = Web(insecure=insecure, patience=self._patience)
        try:
            repository = Repository(web, base, name, self._registries.identity, self._patience)
            layers = {part.digest: part for part in (*manifest.layers, manifest.config)}.values()
            whole = sum(layer.size for layer in layers)
            for layer in layers:
                async with aclosing(self._push_layer(repository, name, layer)) as steps:
                    async for step in steps:
                        yield msgspec.structs.replace(step, whole=whole, parts=len(layers))
            yield Progress("pushing manifest")
            await self._put_manifest(repository, name.tag, data)
        except Refused as error:
            if error.status in _DENIED:
                raise SourceError(f"push access denied: {error.message or error.status}") from error
            raise
        finally:
            await web.close()
        yield Progress("success")

    async def _push_layer(
        self, repository: Repository, name: ModelName, layer: Layer
    ) -> AsyncGenerator[Progress, None]:
        status, sent = f"pushing {layer.digest.short}", _Sent()
        path = await asyncio.to_thread(self._blobs.path, layer.digest)
        yield Progress(status, str(layer.digest), layer.size)
        upload = _Upload(repository, path, layer, sent, self._patience, self._part_bytes)
        task = asyncio.create_task(upload.run(_mounted_from(layer, name)))
        try:
            told = 0
            while not task.done():
                await asyncio.wait({task}, timeout=_STEP_S)
                if sent.completed > told:
                    told = sent.completed
                    yield Progress(status, str(layer.digest), layer.size, told)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if told < layer.size:
            yield Progress(status, str(layer.digest), layer.size, layer.size)

    async def _put_manifest(self, repository: Repository, tag: str, data: bytes) -> None:
        attempts = Attempts(self._patience)
        while True:
            try:
                async with repository.ask("PUT", f"manifests/{tag}", {"Content-Type": MANIFEST_TYPE}, data):
                    return
            except Again as error:
                await asyncio.sleep(attempts.wait_s(error))


class _Upload:
    """One blob on its way out."""

    def __init__(
        self, repository: Repository, path: Path, layer: Layer, sent: _Sent, patience: Patience, part_bytes: int
    ) -> None:
        self._repository = repository
        self._path = path
        self._layer = layer
        self._sent = sent
        self._patience = patience
        self._part_bytes = part_bytes
        self._location = ""
        self._offset = 0
        self._md5s: list[bytes] | None = []

    async def run(self, mounted_from: str) -> None:
        """Bring the blob to the registry, by whatever is the shortest way."""
        attempts = Attempts(self._patience)
        while True:
            before = self._sent.completed
            try:
                await self._try(mounted_from)
                self._sent.reach(self._layer.size)
                return
            except Again as error:
                if self._sent.completed > before:
                    attempts.succeeded()
                await asyncio.sleep(attempts.wait_s(error))

    async def _try(self, mounted_from: str) -> None:
        if not self._location:
            if await self._is_there() or await self._begin(mounted_from):
                return
        else:
            await self._ask_how_far()
        while self._offset < self._layer.size:
            await self._send_part()
        mark = "&" if "?" in self._location else "?"
        end = f"{self._location}{mark}digest={self._layer.digest}{self._etag()}"
        async with self._repository.ask("PUT", end, content=b""):
            pass

    def _etag(self) -> str:
        """What Ollama's registry compares with its storage; not known of an upload that was taken up midway."""
        if not self._md5s:
            return ""
        return f"&etag={hashlib.md5(b''.join(self._md5s), usedforsecurity=False).hexdigest()}-{len(self._md5s)}"

    async def _is_there(self) -> bool:
        async with self._repository.ask("HEAD", f"blobs/{self._layer.digest}", expected=(404,)) as response:
            return response.status_code == 200

    async def _begin(self, mounted_from: str) -> bool:
        """Open an upload; True if the registry had the blob elsewhere and needs none."""
        query = f"?mount={self._layer.digest}&from={mounted_from}" if mounted_from else ""
        async with self._repository.ask("POST", f"blobs/uploads/{query}", content=b"") as response:
            if response.status_code == 201:
                return True
            await self._move_on(response.headers, str(response.url))
        self._offset, self._md5s = 0, []
        return False

    async def _ask_how_far(self) -> None:
        """Find out what of an upload that broke off arrived; where the registry does not know, begin anew."""
        async with self._repository.ask("GET", self._location, expected=(404, 400, 405)) as response:
            if response.status_code == 204:
                last = response.headers.get("Range", "").rpartition("-")[2]
                self._offset = int(last) + 1 if last.isascii() and last.isdigit() and int(last) else 0
                self._offset, self._md5s = min(self._offset, self._layer.size), None
                await self._move_on(response.headers, str(response.url))
                return
        self._location = ""
        raise Again("the registry lost the upload")

    async def _send_part(self) -> None:
        start, end = self._offset, min(self._layer.size, self._offset + self._part_bytes)
        headers = {
            "Content-Range": f"{start}-{end - 1}",
            "Content-Length": str(end - start),
            "Content-Type": "application/octet-stream",
        }
        md5 = hashlib.md5(usedforsecurity=False)
        with await asyncio.to_thread(self._path.open, "rb") as file:
            content = self._read(file, start, end, md5)
            try:
                async with (
                    aclosing(content),
                    self._repository.ask("PATCH", self._location, headers, content) as response,
                ):
                    await self._move_on(response.headers, str(response.url))
            except Refused as error:
                if error.status in _UNCLEAR:
                    # The token ran out, or we disagree on what arrived: the question how far we are settles both.
                    raise Again(str(error)) from error
                raise
        self._offset = end
        if self._md5s is not None:
            self._md5s.append(md5.digest())

    async def _read(self, file: BinaryIO, start: int, end: int, md5: hashlib._Hash) -> AsyncGenerator[bytes, None]:
        await asyncio.to_thread(file.seek, start)
        while start < end:
            chunk = await asyncio.to_thread(file.read, min(CHUNK_BYTES, end - start))
            if not chunk:
                raise SourceError(f"blob {self._layer.digest} is shorter than its manifest says")
            await asyncio.to_thread(md5.update, chunk)
            yield chunk
            start += len(chunk)
            self._sent.reach(start)

    async def _move_on(self, headers: Mapping[str, str], url: str) -> None:
        location = headers.get("Docker-Upload-Location") or headers.get("Location") or self._location
        if not location:
            raise SourceError("the registry says no place to send to")
        location = urljoin(url, location)
        await check_target(self._repository.base, location)
        self._location = location


def _mounted_from(layer: Layer, target: ModelName) -> str:
    """The repository of the same registry that has the blob already, "" where none is known."""
    if not layer.from_:
        return ""
    try:
        source = ModelName.parse(layer.from_)
    except InvalidName:
        return ""
    return f"{source.namespace}/{source.model}" if source.key[0] == target.key[0] else ""
