"""From a Modelfile to a model: what it says as a request, and the way of its file into the store.

The command line and the editor do this on their side of a client, so it works with a server elsewhere too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from corral.runtime.components import is_adapter
from corral.runtime.errors import BadRequest, InvalidParameter
from corral.runtime.model_files import gguf_files
from corral.runtime.options import parse_parameters
from corral.runtime.quantize import quantization_of
from corral.runtime.remote.address import Remote, from_urls
from corral.runtime.remote.allowed import note
from corral.runtime.verbs import Caller, Client, CreateRequest, Message, Progress
from corral.store.blobs import BlobStore
from corral.store.errors import ConversionError, InvalidName, ModelfileError, SourceError, StoreError, StoreReadOnly
from corral.store.gguf import read_header
from corral.store.modelfile import Command, Modelfile
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths
from corral.store.sources.source import Job

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Modelfile as a request, and the files that belong to it.

    `files` are the weights by the names they are sent under: GGUF files, all parts of them where they are split, and
    projectors; or those of a folder of safetensors; none where it names a model, or one that is `remote`.
    `adapters` are one LoRA file, or the files of one in safetensors.
    """

    request: CreateRequest
    files: Mapping[str, Path] = field(default_factory=dict)
    adapters: Mapping[str, Path] = field(default_factory=dict)
    draft: Path | None = None
    remote: Remote | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, each once."""
        drafts = () if self.draft is None else (self.draft,)
        return tuple(dict.fromkeys((*self.files.values(), *self.adapters.values(), *drafts)))


def request_from_modelfile(name: str, modelfile: Modelfile, folder: Path) -> Recipe:
    """Translate a Modelfile. Paths are read relative to `folder`; one that does not exist is a model's name.

    What the server would refuse is refused here already where it can be seen: a file of gigabytes that is no model
    need not be sent first, and its line can be named. Blocks its thread for a look at the files' headers.

    Raises:
        InvalidName: `name` is none.
        ModelfileError: with the line at fault.
    """
    ModelName.parse(name)
    recipe = Recipe(put_on(CreateRequest(model=name), modelfile))
    for command in modelfile.commands:
        match command.name:
            case "from":
                if remote := _remote(command):
                    recipe = replace(recipe, remote=remote)
                    continue
                if found := _safetensors(command, folder):
                    recipe = replace(recipe, files={**recipe.files, **found})
                    continue
                if paths := gguf_files(command, folder):
                    recipe = replace(recipe, files={**recipe.files, **named(*paths, after=recipe.files)})
                    continue
                _check_name(command)
                if recipe.request.base is not None:
                    raise ModelfileError("only one FROM can name a model", command.line)
                recipe = replace(recipe, request=structs.replace(recipe.request, base=command.value))
            case "adapter":
                recipe = replace(recipe, adapters=_adapter(command, folder))
            case "draft":
                if recipe.draft is not None:
                    raise ModelfileError("only one DRAFT is supported", command.line)
                recipe = replace(recipe, draft=_one(command, folder))
    if recipe.remote is not None:
        return _stub(recipe, recipe.remote)
    if recipe.request.base is None and not recipe.files:
        raise ModelfileError("no FROM line")
    return recipe


def _remote(command: Command) -> Remote | None:
    try:
        return from_urls(command.value)
    except BadRequest as error:
        raise ModelfileError(str(error), command.line) from None


def _stub(recipe: Recipe, remote: Remote) -> Recipe:
    if recipe.request.base is not None or recipe.paths:
        raise ModelfileError("a remote model has one FROM line, and neither ADAPTER nor DRAFT")
    return replace(recipe, request=structs.replace(recipe.request, base=remote.model, remote_host=remote.text))


def put_on(request: CreateRequest, modelfile: Modelfile) -> CreateRequest:
    """Add all a Modelfile says but where its files come from.

    Raises:
        ModelfileError: with the line of a parameter that is none.
    """
    lines: list[tuple[str, str]] = []
    for command in modelfile.commands:
        match command.name:
            case "template":
                request = structs.replace(request, template=command.value)
            case "system":
                request = structs.replace(request, system=command.value)
            case "renderer":
                request = structs.replace(request, renderer=command.value)
            case "parser":
                request = structs.replace(request, parser=command.value)
            case "requires":
                request = structs.replace(request, requires=command.value)
            case "license":
                request = structs.replace(request, licenses=(*request.licenses, command.value))
            case "message":
                request = structs.replace(request, messages=(*request.messages, Message(command.key, command.value)))
            case "parameter":
                lines.append((command.key, command.value))
                _check_parameter(command)
    return structs.replace(request, parameters=parse_parameters(lines))


def named(*files: Path | None, after: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return files by the names they are sent under, each once; two of one name in different folders stay two."""
    known = dict(after or {})
    found: dict[str, Path] = {}
    for path in files:
        if path is not None and path not in known.values():
            name = f"{len(known)}/{path.name}" if known else path.name
            known[name] = found[name] = path
    return found


def _check_parameter(command: Command) -> None:
    try:
        parse_parameters([(command.key, command.value)])
    except InvalidParameter as error:
        raise ModelfileError(str(error), command.line) from None


def _one(command: Command, folder: Path) -> Path:
    """The one file a line means."""
    found = gguf_files(command, folder)
    if len(found) != 1:
        reason = f"{len(found)} files" if found else "no file"
        raise ModelfileError(f"{command.value} is {reason}", command.line)
    return found[0]


def _adapter(command: Command, folder: Path) -> dict[str, Path]:
    """The file of the adapter a line means, or the files of its folder of safetensors."""
    if found := _safetensors(command, folder, adapter=True):
        if "adapter_config.json" not in found:
            raise ModelfileError(f"{command.value} has no adapter_config.json: it is no LoRA adapter", command.line)
        return found
    path = _one(command, folder)
    if not is_adapter(read_header(path)):
        raise ModelfileError(f"{command.value} is no LoRA adapter in the GGUF format", command.line)
    return named(path)


def _safetensors(command: Command, folder: Path, *, adapter: bool = False) -> dict[str, Path]:
    """The files of the folder a line means, by their names in it; none where it has no safetensors."""
    path = (folder / Path(command.value).expanduser()).absolute()
    try:
        if not path.is_dir() or not any(path.glob("*.safetensors")):
            return {}
    except (OSError, ValueError):
        return {}
    from corral.store.convert import check, files_of  # brings the gguf package, which little else needs

    try:
        files = files_of(path)
        if not adapter:  # of an adapter, little can be said without the model it is for
            check(files)
    except ConversionError as error:
        raise ModelfileError(f"{command.value}: {error}", command.line) from None
    return files


def _check_name(command: Command) -> None:
    try:
        ModelName.parse(command.value)
    except InvalidName:
        raise ModelfileError(f"{command.value} is neither a file nor a model's name", command.line) from None


async def create_from_modelfile(
    client: Client,
    name: str,
    modelfile: Modelfile,
    folder: Path,
    *,
    caller: Caller | None = None,
    quantize: str = "",
    draft_quantize: str = "",
    imatrix: Path | None = None,
    store: Path | None = None,
    remotes: Path | None = None,
) -> AsyncGenerator[Progress, None]:
    """Make a model from a Modelfile: hash and upload its files where it has some, then create.

    `store` is the model folder the client most likely works on, if it is on this machine: where it does, files go there
    at once, sharing their blocks where the file system can, and are read a single time. `remotes` is the list of the
    servers that models may have their engine on: one that the Modelfile names is added, because a user of this machine
    wrote it.

    Raises:
        ModelfileError: with the line at fault.
        StoreError, RunError: as the verbs.
    """
    if quantize:
        quantization_of(quantize)  # before gigabytes are sent
    if draft_quantize:
        quantization_of(draft_quantize)
    recipe = await asyncio.to_thread(request_from_modelfile, name, modelfile, folder)
    if recipe.remote is not None:
        _note(remotes, recipe.remote)
    paths = recipe.paths if imatrix is None else (*recipe.paths, imatrix)
    if paths:
        yield Progress("gathering model components")
    digests: dict[Path, str] = {}
    near = store if store is not None and paths and await _works_on(client, store) else None
    for path in paths:
        digest = await _known_blob(client, path)
        if digest is None and near is not None:
            with contextlib.suppress(StoreReadOnly, SourceError):  # what we may not write or read is sent
                job = Job(partial(BlobStore(StorePaths(near)).adopt, path))
                size = path.stat().st_size
                async with contextlib.aclosing(job.steps()) as copied:
                    async for completed in copied:
                        yield Progress(f"copying file {path.name}", total=size, completed=min(completed, size))
                digest = str(job.result.digest)
        digests[path] = await asyncio.to_thread(_digest, path) if digest is None else digest
        if not await client.has_blob(digests[path]):
            async for progress in _upload(client, path, digests[path], path.stat().st_size):
                yield progress

    def sent(files: Mapping[str, Path]) -> dict[str, str]:
        return {name: digests[path] for name, path in files.items()}

    request = structs.replace(
        recipe.request,
        caller=caller,
        files=sent(recipe.files),
        adapters=sent(recipe.adapters),
        draft_files=sent(named(recipe.draft)),
        imatrix=sent(named(imatrix)),
        quantize=quantize,
        draft_quantize=draft_quantize,
    )
    async with contextlib.aclosing(client.create(request)) as steps:
        async for progress in steps:
            yield progress


def _note(remotes: Path | None, remote: Remote) -> None:
    try:
        note(remotes, remote.hosts)
    except OSError as error:
        raise ModelfileError(f"{remotes}: {error.strerror}") from None


async def _known_blob(client: Client, path: Path) -> str | None:
    """The digest of a file that is a blob of the store itself, as `show --modelfile` names it."""
    try:
        digest = str(Digest.parse(path.name))
    except StoreError:
        return None
    return digest if await client.has_blob(digest) else None


async def _works_on(client: Client, store: Path) -> bool:
    """Whether the client's store is this folder: a few bytes sent to it are then found there, and taken away."""
    data = secrets.token_bytes(16)
    digest = Digest(hashlib.sha256(data).hexdigest())

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await client.put_blob(str(digest), chunks())
    path = StorePaths(store).blob(digest)
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return str(Digest(hashlib.file_digest(file, "sha256").hexdigest()))
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
