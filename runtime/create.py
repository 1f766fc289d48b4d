"""Making models: from another model or from GGUF files, with their template, system, parameters and messages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from corral.runtime.errors import BadRequest, InvalidParameter, TemplateFailed
from corral.runtime.library import Library
from corral.runtime.options import parse_options, parse_parameters
from corral.runtime.verbs import Caller, Client, CreateRequest, Message, Progress
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog
from corral.store.errors import BlobNotFound, ModelfileError, NotGguf, StoreError
from corral.store.gguf import read_header
from corral.store.manifests import Layer, Manifest, ManifestStore, MediaType, ModelConfig
from corral.store.modelfile import Command, Modelfile
from corral.store.names import Digest, ModelName
from corral.store.plans import prune_after_replace

CHUNK_BYTES = 1 << 20
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
            StoreError: a base or a blob is missing, or the disk is full.
        """
        name = ModelName.parse(request.model)
        _check(request)
        if request.base:
            parts = await self._from_model(request.base)
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
        if len(files) != 1:
            raise BadRequest("a model is made from exactly one GGUF file")
        ((key, digest_text),) = files.items()
        if Path(key).is_absolute() or ".." in Path(key).parts:
            raise BadRequest("file path must be relative")
        digest = Digest.parse(digest_text)
        if not self._blobs.has(digest):
            raise BlobNotFound(f"blob {digest} is not in the store; upload it first")
        try:
            header = read_header(self._blobs.path(digest))
        except NotGguf as error:
            raise BadRequest(f"supplied file was not in GGUF format: {error}") from None
        config = ModelConfig(
            model_format="gguf",
            model_family=header.architecture,
            model_families=(header.architecture,),
            model_type=header.parameter_size,
            file_type=header.quantization,
        )
        return _Parts(config, (Layer(MediaType.MODEL, digest, self._blobs.size(digest)),), {})

    def _dress(self, parts: _Parts, request: CreateRequest) -> _Parts:
        """Put on what the request says: replaced, merged or appended as spec a.18 has it."""
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Modelfile as a request. `weights` is the GGUF file it is made from; None where it names a model."""

    request: CreateRequest
    weights: Path | None


def request_from_modelfile(name: str, modelfile: Modelfile, folder: Path) -> Recipe:
    """Translate a Modelfile. Paths are read relative to `folder`; one that does not exist is a model's name.

    Raises:
        ModelfileError: with the line at fault.
    """
    request = CreateRequest(model=name)
    lines: list[tuple[str, str]] = []
    weights: Path | None = None
    for command in modelfile.commands:
        match command.name:
            case "from":
                if request.base is not None or weights is not None:
                    raise ModelfileError("only one FROM is supported", command.line)
                weights = _weights(command, folder)
                if weights is None:
                    request = replace(request, base=command.value)
            case "template":
                request = replace(request, template=command.value)
            case "system":
                request = replace(request, system=command.value)
            case "license":
                request = replace(request, licenses=(*request.licenses, command.value))
            case "message":
                message = Message(command.key, command.value)
                request = replace(request, messages=(*request.messages, message))
            case "parameter":
                lines.append((command.key, command.value))
                _check_parameter(command)
            case _:
                raise ModelfileError(f"{command.name.upper()} is not supported", command.line)
    if request.base is None and weights is None:
        raise ModelfileError("no FROM line")
    return Recipe(replace(request, parameters=parse_parameters(lines)), weights)


def _check_parameter(command: Command) -> None:
    try:
        parse_parameters([(command.key, command.value)])
    except InvalidParameter as error:
        raise ModelfileError(str(error), command.line) from None


def _weights(command: Command, folder: Path) -> Path | None:
    """The GGUF file a FROM means, or None where it names a model."""
    path = (folder / Path(command.value).expanduser()).absolute()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        found = sorted(path.glob("*.gguf"))
        if len(found) != 1:
            raise ModelfileError(f"{len(found)} GGUF files in {command.value}: name one", command.line)
        return found[0]
    if not stat.S_ISREG(mode):
        raise ModelfileError(f"{command.value} is not a regular file", command.line)
    return path


async def create_from_modelfile(
    client: Client, name: str, modelfile: Modelfile, folder: Path, *, caller: Caller | None = None
) -> AsyncGenerator[Progress, None]:
    """Make a model from a Modelfile: hash and upload its file where it has one, then create.

    Raises:
        ModelfileError: with the line at fault.
        StoreError, RunError: as the verbs.
    """
    recipe = request_from_modelfile(name, modelfile, folder)
    request = replace(recipe.request, caller=caller)
    if recipe.weights is not None:
        yield Progress("gathering model components")
        path = recipe.weights
        size = path.stat().st_size
        digest = await _known_blob(client, path)
        if digest is None:
            digest = str(await asyncio.to_thread(_hash, path))
            if not await client.has_blob(digest):
                async for progress in _upload(client, path, digest, size):
                    yield progress
        request = replace(request, files={path.name: digest})
    async for progress in client.create(request):
        yield progress


async def _known_blob(client: Client, path: Path) -> str | None:
    """The digest of a file that is a blob of the store itself, as `show --modelfile` names it."""
    try:
        digest = str(Digest.parse(path.name))
    except StoreError:
        return None
    return digest if await client.has_blob(digest) else None


def _hash(path: Path) -> Digest:
    try:
        with path.open("rb") as file:
            return Digest(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise ModelfileError(f"{path.name}: {error.strerror}") from None


async def _upload(client: Client, path: Path, digest: str, size: int) -> AsyncGenerator[Progress, None]:
    """Send a file, telling how far it is; the sender never gets more than a few steps ahead of who listens."""
    steps: asyncio.Queue[Progress | None] = asyncio.Queue(maxsize=8)

    async def send() -> None:
        try:
            await client.put_blob(digest, _chunks(path, lambda sent: _offer(steps, digest, sent, size)))
        finally:
            await steps.put(None)

    sender = asyncio.create_task(send())
    try:
        while (step := await steps.get()) is not None:
            yield step
        await sender
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


def _offer(steps: asyncio.Queue[Progress | None], digest: str, sent: int, size: int) -> None:
    if steps.qsize() < steps.maxsize - 1:  # a step that nobody has read yet is replaced by later ones
        steps.put_nowait(Progress(f"copying file {digest}", digest, size, sent))


async def _chunks(path: Path, on_sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    sent = 0
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            on_sent(sent)
