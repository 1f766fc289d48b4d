"""Making models: from another, from GGUF or safetensors, with their template, system, parameters and messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from corral.runtime.conversion import Conversion
from corral.runtime.errors import BadRequest, TemplateFailed
from corral.runtime.library import Library
from corral.runtime.options import parse_options
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.errors import BlobNotFound, NotGguf, StoreError
from corral.store.gguf import GgufHeader, read_header
from corral.store.manifests import Layer, Manifest, ManifestStore, MediaType, ModelConfig
from corral.store.names import Digest, ModelName
from corral.store.plans import prune_after_replace

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A model being put together."""

    config: ModelConfig
    layers: tuple[Layer, ...]
    parameters: Mapping[str, object]

    def without(self, *kinds: MediaType) -> _Parts:
        return replace(self, layers=tuple(one for one in self.layers if one.media_type not in kinds))

    def plus(self, layer: Layer) -> _Parts:
        return replace(self, layers=(*self.layers, layer))


class Creator:
    """Makes models in the store. Used by the service loop; touches the disk in threads."""

    def __init__(
        self, library: Library, catalog: Catalog, blobs: BlobStore, manifests: ManifestStore, *, prune: bool
    ) -> None:
        self._library = library
        self._catalog = catalog
        self._blobs = blobs
        self._manifests = manifests
        self._prune = prune

    async def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """Make a model; see `verbs.Client.create`.

        Raises:
            BadRequest: the request contradicts itself, or a file is no GGUF.
            ConversionError: the files are no model that can be converted.
            StoreError: a base or a blob is missing, or the disk is full.
        """
        name = ModelName.parse(request.model)
        _check(request)
        if request.base:
            parts = await self._from_model(request.base)
        elif Conversion.is_for(request.files):
            digests = await asyncio.to_thread(self._digests, request.files)
            conversion = Conversion(self._blobs, digests, name.model)
            async with contextlib.aclosing(conversion.steps()) as steps:
                async for step in steps:
                    yield step
            assert conversion.made is not None
            blob, header = conversion.made
            parts = self._from_gguf(blob.digest, header)
        elif request.files:
            yield Progress("parsing GGUF")
            parts = await asyncio.to_thread(self._from_files, request.files)
        else:
            raise BadRequest("neither 'from' or 'files' was specified")
        before = {one.digest for one in parts.layers}
        parts = await asyncio.to_thread(self._dress, parts, request)
        for layer in parts.layers:
            word = "using existing" if layer.digest in before else "creating new"
            yield Progress(f"{word} layer {layer.digest}")
        yield Progress("writing manifest")
        await asyncio.to_thread(self._write, name, parts)
        yield Progress("success")

    async def _from_model(self, base: str) -> _Parts:
        model = await self._library.open(base)
        stored = await asyncio.to_thread(self._catalog.find, model.name)
        layers = tuple(replace(one, from_=model.shown) for one in stored.manifest.layers)
        return _Parts(stored.config, layers, model.parameters)

    def _from_files(self, files: Mapping[str, str]) -> _Parts:
        return self._from_gguf(*self._gguf(files))

    def _from_gguf(self, digest: Digest, header: GgufHeader) -> _Parts:
        config = ModelConfig(
            model_format="gguf",
            model_family=header.architecture,
            model_families=(header.architecture,),
            model_type=header.parameter_size,
            file_type=header.quantization,
        )
        return _Parts(config, (Layer(MediaType.MODEL, digest, self._blobs.size(digest)),), {})

    def _gguf(self, files: Mapping[str, str]) -> tuple[Digest, GgufHeader]:
        """Look at the one file of a model."""
        if len(files) != 1:
            raise BadRequest("a model is made from exactly one GGUF file")
        (digest,) = self._digests(files).values()
        try:
            return digest, read_header(self._blobs.path(digest))
        except NotGguf as error:
            raise BadRequest(f"supplied file was not in GGUF format: {error}") from None

    def _digests(self, files: Mapping[str, str]) -> dict[str, Digest]:
        """The blobs of uploaded files, each seen to be there."""
        found = {}
        for key, text in files.items():
            if Path(key).is_absolute() or ".." in Path(key).parts:
                raise BadRequest("file path must be relative")
            digest = found[key] = Digest.parse(text)
            if not self._blobs.has(digest):
                raise BlobNotFound(f"blob {digest} is not in the store; upload it first")
        return found

    def _dress(self, parts: _Parts, request: CreateRequest) -> _Parts:
        """Put on what the request says: replaced, merged or appended as spec a.18 has it."""
        if request.draft_files:
            digest, header = self._gguf(request.draft_files)
            draft = {"model_format": "gguf", "architecture": header.architecture}
            parts = replace(parts.without(MediaType.DRAFT), config=structs.replace(parts.config, draft=draft))
            parts = parts.plus(Layer(MediaType.DRAFT, digest, self._blobs.size(digest)))
        if request.template is not None:
            parts = parts.without(MediaType.TEMPLATE, MediaType.PROMPT)
            if request.template:
                parts = parts.plus(self._layer(MediaType.TEMPLATE, request.template))
        if request.system is not None:
            parts = parts.without(MediaType.SYSTEM)
            if request.system:
                parts = parts.plus(self._layer(MediaType.SYSTEM, request.system))
        for text in request.licenses:
            parts = parts.plus(self._layer(MediaType.LICENSE, text))
        if request.parameters:
            merged = {**parts.parameters, **request.parameters}
            parts = parts.without(MediaType.PARAMS).plus(self._layer(MediaType.PARAMS, json.dumps(merged) + "\n"))
        if request.messages:
            turns = [{"role": one.role, "content": one.content} for one in request.messages]
            text = json.dumps(turns, ensure_ascii=False) + "\n"
            parts = parts.without(MediaType.MESSAGES).plus(self._layer(MediaType.MESSAGES, text))
        return parts

    def _layer(self, kind: MediaType, text: str) -> Layer:
        blob = self._blobs.put_bytes(text.encode("utf-8", errors="replace"))
        return Layer(kind, blob.digest, blob.size)

    def copy(self, source: ModelName, target: ModelName) -> None:
        """Give a model a second name, which may be another model's so far; blocks its thread.

        Raises:
            ModelNotFound, StoreError: there is no `source`, or the disk refuses.
        """
        stored = self._catalog.find(source)
        with self._replacing(target):
            self._manifests.copy(stored.name, target)

    def _write(self, name: ModelName, parts: _Parts) -> None:
        with self._replacing(name):
            self._manifests.write(name, parts.config, parts.layers)

    @contextlib.contextmanager
    def _replacing(self, name: ModelName) -> Iterator[None]:
        """Frame the writing of a manifest: what only the one before it needed goes afterwards."""
        old: Manifest | None = None
        with contextlib.suppress(StoreError):
            old = self._catalog.find(name).manifest
        yield
        if self._prune:
            prune_after_replace(self._blobs.paths, old)


def _check(request: CreateRequest) -> None:
    """Refuse what cannot be made before anything is written."""
    parse_options(request.parameters)
    if any(one.role not in _ROLES for one in request.messages):
        raise BadRequest('message role must be one of "system", "user", or "assistant"')
    if request.template:
        from corral.runtime.prompt.gotemplate import check_go  # Go's templates take 100 ms to import

        try:
            check_go(request.template)
        except TemplateFailed as error:
            raise BadRequest(str(error)) from None
