"""Making models: from another, from GGUF or safetensors, with their template, system, parameters and messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from msgspec import structs

from corral.runtime.capabilities import unknown_name
from corral.runtime.components import Components, blobs_of, read_components
from corral.runtime.conversion import Conversion
from corral.runtime.errors import BadRequest, TemplateFailed
from corral.runtime.library import Library
from corral.runtime.options import parse_options
from corral.runtime.quantize import Weights, check_source, in_order, quantization_of, rewrite
from corral.runtime.remote.stub import check_stub, stub_config
from corral.runtime.verbs import CreateRequest, Progress
from corral.store.blobs import Blob, BlobStore
from corral.store.catalog import Catalog, StoredModel
from corral.store.errors import DigestMismatch, ModelNotFound, StoreError
from corral.store.gguf import GgufHeader, read_header
from corral.store.manifests import Layer, Manifest, ManifestStore, MediaType, ModelConfig, go_json
from corral.store.modelfile import is_version
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths
from corral.store.plans import prune_after_replace
from corral.store.sources.source import Job

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

    def configured(self, **fields: object) -> _Parts:
        return replace(self, config=structs.replace(self.config, **fields))

    def on(self, weights: Layer, header: GgufHeader) -> _Parts:
        """The same model on other weights."""
        parts = self.without(MediaType.MODEL).configured(
            model_type=header.parameter_size, file_type=header.quantization
        )
        return replace(parts, layers=(weights, *parts.layers))


class Creator:
    """Makes models in the store. Used by the service loop; touches the disk in threads."""

    def __init__(
        self,
        library: Library,
        catalog: Catalog,
        blobs: BlobStore,
        manifests: ManifestStore,
        *,
        prune: bool,
        pull: Callable[[str], AsyncGenerator[Progress, None]],
    ) -> None:
        self._library = library
        self._catalog = catalog
        self._blobs = blobs
        self._manifests = manifests
        self._prune = prune
        self._pull = pull

    async def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """Make a model; see `verbs.Client.create`.

        Raises:
            BadRequest: the request contradicts itself, or a file is no GGUF.
            ConversionError: the files are no model that can be converted.
            StoreError: a base or a blob is missing, or the disk is full.
        """
        name = ModelName.parse(request.model)
        _check(request)
        if not request.base and not request.files:
            raise BadRequest("neither 'from' or 'files' was specified")
        if request.remote_host:
            async with aclosing(self._stub(name, request)) as steps:
                async for step in steps:
                    yield step
            return
        if Conversion.is_for(request.files):
            conversion = await self._conversion(request.files, name.model)
            async with aclosing(conversion.steps()) as steps:
                async for step in steps:
                    yield step
            request = structs.replace(request, files={"model.gguf": _made(conversion)})
        elif request.files:
            yield Progress("parsing GGUF")
        adapter = request.adapters if Conversion.is_for(request.adapters) else {}
        if adapter:
            request = structs.replace(request, adapters={})
        components = await asyncio.to_thread(self._components, request)
        if request.base:
            parts = _Parts(ModelConfig(), (), {})
            async with aclosing(self._from_model(request.base)) as bases:
                async for found in bases:
                    if isinstance(found, Progress):
                        yield found
                    else:
                        parts = found
            if parts.config.remote_host:
                check_stub(request)
                async with aclosing(self._finish(name, parts, Components(), request)) as steps:
                    async for step in steps:
                        yield step
                return
            weights = await asyncio.to_thread(self._weights, parts)
        else:
            weights = in_order(components.weights)
            parts = _bare(weights)
        before = {one.digest for one in parts.layers}
        if adapter:
            conversion = await self._conversion(adapter, name.model, weights.header)
            async with aclosing(conversion.steps()) as steps:
                async for step in steps:
                    yield step
            converted = structs.replace(request, adapters={"adapter.gguf": _made(conversion)})
            components = await asyncio.to_thread(self._components, converted)
        if request.quantize or len(weights.parts) > 1:
            async with aclosing(self._rewritten(weights, request)) as written:
                async for blob in written:
                    if isinstance(blob, Progress):
                        yield blob
                    else:
                        header = await asyncio.to_thread(read_header, self._blobs.path(blob.digest))
                        parts = parts.on(Layer(MediaType.MODEL, blob.digest, blob.size), header)
        if request.draft_quantize and components.draft is not None:
            async with aclosing(self._draft(components.draft, request.draft_quantize)) as written:
                async for blob in written:
                    if isinstance(blob, Progress):
                        yield blob
                    else:
                        header = await asyncio.to_thread(read_header, self._blobs.path(blob.digest))
                        components = replace(components, draft=(blob.digest, header))
        async with aclosing(self._finish(name, parts, components, request, before)) as steps:
            async for step in steps:
                yield step

    def _stub(self, name: ModelName, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """Make a model whose engine is elsewhere."""
        check_stub(request)
        return self._finish(name, _Parts(stub_config(request), (), {}), Components(), request)

    async def _finish(
        self,
        name: ModelName,
        parts: _Parts,
        components: Components,
        request: CreateRequest,
        before: Collection[Digest] = (),
    ) -> AsyncGenerator[Progress, None]:
        """Put on what the request says, and make the model exist; the bytes of `before` are those of another's."""
        for word, named in (("renderer", request.renderer), ("parser", request.parser)):
            if doubt := unknown_name(word, named):
                yield Progress(f"warning: {doubt}")
        parts = await asyncio.to_thread(self._dress, parts, components, request)
        for layer in parts.layers:
            word = "using existing" if layer.digest in before else "creating new"
            yield Progress(f"{word} layer {layer.digest}")
        yield Progress("writing manifest")
        await asyncio.to_thread(self._write, name, parts)
        yield Progress("success")

    async def _from_model(self, base: str) -> AsyncGenerator[Progress | _Parts, None]:
        """Take a model over, at last as parts; one that is not here is pulled, one that lies elsewhere copied in."""
        try:
            model = await self._library.open(base)
        except ModelNotFound:
            async with aclosing(self._pull(base)) as steps:
                async for step in steps:
                    if step.status != "success":  # who reads that word first takes the whole job for done
                        yield step
            model = await self._library.open(base)
        stored, ours = await self._library.find(base)
        layers = []
        for layer in stored.manifest.layers:
            if not ours:
                job = Job(partial(self._adopt, stored, layer))
                status = f"copying file {layer.digest}"
                yield Progress(status, str(layer.digest), layer.size)
                async with aclosing(job.steps()) as copied:
                    async for completed in copied:
                        yield Progress(status, str(layer.digest), layer.size, min(completed, layer.size))
                layer = job.result
            layers.append(replace(layer, from_=model.shown))
        yield _Parts(stored.config, tuple(layers), model.parameters)

    def _adopt(self, stored: StoredModel, layer: Layer, on_bytes: Callable[[int], None] | None = None) -> Layer:
        """Copy a part of a model that lies elsewhere into the store, sharing its blocks where the file system can."""
        blob = self._blobs.adopt(stored.path(layer), on_bytes)
        if isinstance(stored.files, StorePaths) and blob.digest != layer.digest:
            raise DigestMismatch(str(layer.digest), str(blob.digest))
        return replace(layer, digest=blob.digest, size=blob.size)

    async def _conversion(self, files: Mapping[str, str], name: str, adapted: GgufHeader | None = None) -> Conversion:
        digests = await asyncio.to_thread(blobs_of, self._blobs, files)
        return Conversion(self._blobs, digests, name, adapted)

    def _draft(self, draft: tuple[Digest, GgufHeader], wanted: str) -> AsyncGenerator[Progress | Blob, None]:
        weights, wanted = in_order([draft]), quantization_of(wanted)
        kind = check_source(weights)
        if wanted == kind:
            return _as_it_is()
        return rewrite(self._blobs, weights, f"quantizing {kind} draft model to {wanted}", wanted)

    def _components(self, request: CreateRequest) -> Components:
        components = read_components(self._blobs, request)
        if request.base and components.weights:
            raise BadRequest("a model has its weights from 'from' or from 'files', not from both")
        return components

    def _weights(self, parts: _Parts) -> Weights:
        digests = [layer.digest for layer in parts.layers if layer.media_type == MediaType.MODEL]
        return in_order([(digest, read_header(self._blobs.path(digest))) for digest in digests])

    def _rewritten(self, weights: Weights, request: CreateRequest) -> AsyncGenerator[Progress | Blob, None]:
        """Quantize, put together, or both at once; what is in the type asked for already is kept as it is."""
        if not request.quantize:
            return rewrite(self._blobs, weights, f"merging {len(weights.parts)} files")
        wanted, kind = quantization_of(request.quantize), check_source(weights)
        if wanted == kind:
            return _as_it_is() if len(weights.parts) == 1 else rewrite(self._blobs, weights, "merging files")
        imatrix = next((Digest.parse(digest) for digest in request.imatrix.values()), None)
        return rewrite(self._blobs, weights, f"quantizing {kind} model to {wanted}", wanted, imatrix)

    def _dress(self, parts: _Parts, components: Components, request: CreateRequest) -> _Parts:
        """Put on what the request says: replaced, merged or appended as spec a.18 has it."""
        if components.adapters:
            parts = parts.without(MediaType.ADAPTER)
        for digest, header in components.adapters:
            if header.architecture != parts.config.model_family:
                raise BadRequest(
                    f"the adapter is made for {header.architecture} models, this is a {parts.config.model_family} model"
                )
            parts = parts.plus(Layer(MediaType.ADAPTER, digest, header.file_size))
        if components.projectors:
            parts = parts.without(MediaType.PROJECTOR)
        for digest, header in components.projectors:
            families = dict.fromkeys((*(parts.config.model_families or ()), header.architecture))
            parts = parts.configured(model_families=tuple(families))
            parts = parts.plus(Layer(MediaType.PROJECTOR, digest, header.file_size))
        if components.draft is not None:
            digest, header = components.draft
            draft = {"model_format": "gguf", "architecture": header.architecture}
            parts = parts.without(MediaType.DRAFT).configured(draft=draft)
            parts = parts.plus(Layer(MediaType.DRAFT, digest, header.file_size))
        said = {"renderer": request.renderer, "parser": request.parser, "requires": request.requires.removeprefix("v")}
        parts = parts.configured(**{name: value for name, value in said.items() if value})
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
            text = go_json(dict(sorted(merged.items()))).decode()
            parts = parts.without(MediaType.PARAMS).plus(self._layer(MediaType.PARAMS, text))
        if request.messages:
            turns = [{"role": one.role, "content": one.content} for one in request.messages]
            text = go_json(turns).decode()
            parts = parts.without(MediaType.MESSAGES).plus(self._layer(MediaType.MESSAGES, text))
        return parts

    def _layer(self, kind: MediaType, text: str) -> Layer:
        blob = self._blobs.put_bytes(text.encode("utf-8", errors="replace"))
        return Layer(kind, blob.digest, blob.size)

    def copy(self, stored: StoredModel, ours: bool, target: ModelName) -> None:
        """Give a model a second name, which may be another model's so far; blocks its thread.

        One that lies elsewhere (not `ours`) is copied in with all its files.

        Raises:
            BadRequest: it lies elsewhere in several files, which have to be put together.
            StoreError: it is damaged, or the disk refuses.
        """
        if ours:
            with self._replacing(target):
                self._manifests.copy(ModelName.parse(stored.alias_of) if stored.alias_of else stored.name, target)
            return
        if len(stored.layers(MediaType.MODEL)) > 1:
            raise BadRequest(f"{stored.name.short} is split into several files: create a model FROM it instead")
        layers = tuple(self._adopt(stored, layer) for layer in stored.manifest.layers)
        self._write(target, _Parts(stored.config, layers, {}))

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


def _bare(weights: Weights) -> _Parts:
    """A model of nothing but weights."""
    header = weights.header
    config = ModelConfig(
        model_format="gguf",
        model_family=header.architecture,
        model_families=(header.architecture,),
        model_type=header.parameter_size,
        file_type=header.quantization,
    )
    return _Parts(config, tuple(Layer(MediaType.MODEL, digest, one.file_size) for digest, one in weights.parts), {})


def _made(conversion: Conversion) -> str:
    assert conversion.made is not None
    return str(conversion.made[0].digest)


async def _as_it_is() -> AsyncGenerator[Progress | Blob, None]:
    """Nothing to rewrite."""
    return
    yield


def _check(request: CreateRequest) -> None:
    """Refuse what cannot be made before anything is written."""
    parse_options(request.parameters)
    if request.quantize:
        quantization_of(request.quantize)
    elif request.imatrix:
        raise BadRequest("an importance matrix is of use only where the model is quantized")
    if request.draft_quantize:
        quantization_of(request.draft_quantize)
        if not request.draft_files:
            raise BadRequest("--draft-quantize requires a DRAFT model")
    if request.requires and not is_version(request.requires):
        raise BadRequest("requires must be a valid semver (e.g. 0.14.0)")
    if any(one.role not in _ROLES for one in request.messages):
        raise BadRequest('message role must be one of "system", "user", or "assistant"')
    if request.template:
        from corral.runtime.prompt.gotemplate import check_go  # Go's templates take 100 ms to import

        try:
            check_go(request.template)
        except TemplateFailed as error:
            raise BadRequest(str(error)) from None
