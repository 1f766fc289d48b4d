"""The registry protocol: OCI's distribution API as Ollama uses it (spec i). One repository of one registry.

What a registry says is believed only as far as it can be checked: digests are computed, sizes bounded, and nothing but
a `Digest` ever becomes a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from corral.store.addresses import origin_of
from corral.store.errors import BrokenManifest, InvalidDigest, SourceError
from corral.store.manifests import LONGEST_JSON_BYTES, Layer, Manifest, MediaType, decode_manifest
from corral.store.names import Digest, ModelName
from corral.store.ranges import Span
from corral.store.registries import Identity
from corral.store.registry_auth import Login
from corral.store.retry import Again, Attempts, Patience
from corral.store.transfer import Body
from corral.store.web import Refused, Web, check, read

if TYPE_CHECKING:
    import httpx

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_ACCEPTED = f"{MANIFEST_TYPE}, application/vnd.oci.image.manifest.v1+json"
_OURS = "application/vnd.ollama.image."
_MOST_LAYERS = 20_000
_LONGEST_TYPE = 256
#: Layers of these kinds are files of their own; every other is read as a whole.
_BULK = {MediaType.MODEL, MediaType.PROJECTOR, MediaType.ADAPTER, MediaType.TENSOR, MediaType.DRAFT, MediaType.EMBED}
_LARGEST_TEXT = 16 << 20
_EXPIRED = frozenset({400, 401, 403, 404, 410})


class Repository:
    """One repository of one registry. Belongs to the loop it is used on."""

    def __init__(self, web: Web, base: str, name: ModelName, identity: Identity, patience: Patience) -> None:
        self._web = web
        self._root = f"{base}/v2/{name.namespace}/{name.model}"
        self._tag = name.tag
        self._login = Login(web, base, identity)
        self._logging_in = asyncio.Lock()
        self._patience = patience
        self.base = base

    @contextlib.asynccontextmanager
    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        *,
        expected: tuple[int, ...] = (),
    ) -> AsyncGenerator[httpx.Response, None]:
        """Ask once, and once more after logging in where that is wanted; statuses in `expected` are no errors.

        `url` may be a path under the repository. A `content` that can be read only once wants a request before it.

        Raises:
            Again, Refused, SourceError: see `web.open` and `web.check`.
        """
        url = url if "://" in url else f"{self._root}/{url}"
        # A place to upload to may be another host's, who must not learn who we are.
        ours = origin_of(url) == origin_of(self.base)
        again = ours and not isinstance(content, AsyncIterable)
        while True:
            sent = self._login.headers if ours else {}
            async with self._web.open(method, url, {**sent, **(headers or {})}, content) as response:
                try:
                    if response.status_code not in expected:
                        await check(response)
                except Refused as error:
                    if error.status != 401 or not again:
                        raise
                    refused, again = error, False
                else:
                    yield response
                    return
            async with self._logging_in:
                # Somebody else may have logged in while we waited for our turn.
                if self._login.headers == sent:
                    await self._login.answer(refused)

    async def manifest(self) -> bytes:
        """The manifest, byte for byte as the registry has it.

        Raises:
            SourceError: there is none, it is too long, or it is not what its digest says.
        """
        # Somebody waits for the first word: a host that is not there is soon said to be.
        attempts = Attempts(replace(self._patience, tries=min(self._patience.tries, 3)))
        while True:
            try:
                async with self.ask("GET", f"manifests/{self._tag}", {"Accept": _ACCEPTED}) as response:
                    data = await read(response, LONGEST_JSON_BYTES)
                    announced = response.headers.get("Docker-Content-Digest", "")
                break
            except Again as error:
                await asyncio.sleep(attempts.wait_s(error))
        if announced.startswith("sha256:"):
            try:
                digest = Digest.parse(announced)
            except InvalidDigest as error:
                raise SourceError(str(error)) from error
            if digest.hex != hashlib.sha256(data).hexdigest():
                raise SourceError(f"digest mismatch, the manifest is not {digest}")
        return data

    def blob(self, layer: Layer) -> BlobOrigin:
        """Where the bytes of a layer can be had."""
        return BlobOrigin(self, self._web, layer)


class BlobOrigin:
    """A blob in a repository; implements `transfer.Origin`. A store the registry leads to is remembered."""

    def __init__(self, repository: Repository, web: Web, layer: Layer) -> None:
        self._repository = repository
        self._web = web
        self._layer = layer
        self._elsewhere = ""

    def open(self, span: Span) -> AbstractAsyncContextManager[Body]:
        """See `transfer.Origin`."""
        return self._open(span)

    @contextlib.asynccontextmanager
    async def _open(self, span: Span) -> AsyncGenerator[Body, None]:
        headers = {"Range": f"bytes={span.start}-{span.end - 1}"}
        elsewhere = self._elsewhere
        path = f"blobs/{self._layer.digest}"
        asked = self._web.open("GET", elsewhere, headers) if elsewhere else self._repository.ask("GET", path, headers)
        async with asked as response:
            if elsewhere and response.status_code in _EXPIRED:
                # What a registry signs holds for minutes; it is asked for a new one.
                self._elsewhere = ""
                raise Again(f"{response.url.host} answers {response.status_code}")
            await check(response)
            if not str(response.url).startswith(f"{self._repository.base}/"):
                self._elsewhere = str(response.url)
            async with body_of(response, span, self._layer.size) as body:
                yield body


@contextlib.asynccontextmanager
async def body_of(response: httpx.Response, span: Span, size: int) -> AsyncGenerator[Body, None]:
    """The bytes of an answer to a request for a range of a file of `size` bytes.

    Raises:
        SourceError: the server has a file of another size, or another range.
    """
    whole = response.status_code != 206
    if whole:
        length = response.headers.get("Content-Length", str(size))
        fits = length == str(size)
    else:
        given = response.headers.get("Content-Range", "")
        first, _, total = given.removeprefix("bytes ").partition("/")
        length = total
        fits = first.split("-")[0] == str(span.start) and total in {str(size), "*"}
    if not fits:
        raise SourceError(f"{response.url.host} sends {length[:30]} bytes where {size} were announced")
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw())) as chunks:
        yield Body(chunks, whole)


def checked(data: bytes) -> Manifest:
    """Read a stranger's manifest.

    Raises:
        SourceError: it is none, it is no model's, or it contradicts itself.
    """
    try:
        manifest = decode_manifest(data)
    except BrokenManifest as error:
        raise SourceError(str(error)) from error
    parts = (manifest.config, *manifest.layers)
    if len(parts) > _MOST_LAYERS:
        raise SourceError(f"the manifest cannot be read: {len(parts)} layers")
    sizes: dict[Digest, int] = {}
    for part in parts:
        if len(part.media_type) > _LONGEST_TYPE or not part.media_type.isprintable():
            raise SourceError("the manifest cannot be read: a media type that is none")
        if sizes.setdefault(part.digest, part.size) != part.size:
            raise SourceError(f"the manifest cannot be read: two sizes for {part.digest}")
        if part.media_type not in _BULK and part.size > _LARGEST_TEXT and _is_text(part, manifest):
            raise SourceError(f"the manifest cannot be read: {part.size} bytes of {part.media_type}")
    if not any(layer.media_type.startswith(_OURS) for layer in manifest.layers):
        raise SourceError("what the registry has under this name is no model")
    return manifest


def _is_text(part: Layer, manifest: Manifest) -> bool:
    return part is manifest.config or part.media_type.startswith(_OURS)
