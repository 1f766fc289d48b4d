"""From a Modelfile to a model: what it says as a request, and the way of its file into the store.

The command line and the editor do this on their side of a client, so it works with a server elsewhere too.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from corral.runtime.errors import InvalidParameter
from corral.runtime.options import parse_parameters
from corral.runtime.verbs import Caller, Client, CreateRequest, Message, Progress
from corral.store.errors import ConversionError, InvalidName, ModelfileError, NotGguf, StoreError
from corral.store.gguf import read_header
from corral.store.modelfile import Command, Modelfile
from corral.store.names import Digest, ModelName

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Modelfile as a request. `files` are what it is made from by the names they are sent under: a GGUF file, or a
    folder of safetensors; none where it names a model.

    `draft` is the file of the model that guesses for it, None where it has none of its own.
    """

    request: CreateRequest
    files: Mapping[str, Path] = field(default_factory=dict)
    draft: Path | None = None


def request_from_modelfile(name: str, modelfile: Modelfile, folder: Path) -> Recipe:
    """Translate a Modelfile. Paths are read relative to `folder`; one that does not exist is a model's name.

    What the server would refuse is refused here already where it can be seen: a file of gigabytes that is no model
    need not be sent first, and its line can be named. Blocks its thread for a look at that file's header.

    Raises:
        InvalidName: `name` is none.
        ModelfileError: with the line at fault.
    """
    ModelName.parse(name)
    request = CreateRequest(model=name)
    lines: list[tuple[str, str]] = []
    files: dict[str, Path] = {}
    draft: Path | None = None
    for command in modelfile.commands:
        match command.name:
            case "from":
                if request.base is not None or files:
                    raise ModelfileError("only one FROM is supported", command.line)
                files = _safetensors(command, folder)
                if not files and (weights := _gguf(command, folder)) is not None:
                    files = {weights.name: weights}
                if not files:
                    _check_name(command)
                    request = replace(request, base=command.value)
            case "draft":
                if draft is not None:
                    raise ModelfileError("only one DRAFT is supported", command.line)
                draft = _gguf(command, folder)
                if draft is None:
                    raise ModelfileError(f"{command.value} is no file", command.line)
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
    if request.base is None and not files:
        raise ModelfileError("no FROM line")
    return Recipe(replace(request, parameters=parse_parameters(lines)), files, draft)


def _check_parameter(command: Command) -> None:
    try:
        parse_parameters([(command.key, command.value)])
    except InvalidParameter as error:
        raise ModelfileError(str(error), command.line) from None


def _safetensors(command: Command, folder: Path) -> dict[str, Path]:
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
        check(files)
    except ConversionError as error:
        raise ModelfileError(f"{command.value}: {error}", command.line) from None
    return files


def _gguf(command: Command, folder: Path) -> Path | None:
    """The GGUF file a line means, or None where there is no such path."""
    path = (folder / Path(command.value).expanduser()).absolute()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        found = sorted(path.glob("*.gguf"))
        if len(found) != 1:
            raise ModelfileError(f"{len(found)} GGUF files in {command.value}: name one", command.line)
        path = found[0]
    elif not stat.S_ISREG(mode):
        raise ModelfileError(f"{command.value} is not a regular file", command.line)
    try:
        read_header(path)
    except (NotGguf, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelfileError(f"{command.value}: {reason}", command.line) from None
    return path


def _check_name(command: Command) -> None:
    try:
        ModelName.parse(command.value)
    except InvalidName:
        raise ModelfileError(f"{command.value} is neither a file nor a model's name", command.line) from None


async def create_from_modelfile(
    client: Client, name: str, modelfile: Modelfile, folder: Path, *, caller: Caller | None = None
) -> AsyncGenerator[Progress, None]:
    """Make a model from a Modelfile: hash and upload its files where it has some, then create.

    Raises:
        ModelfileError: with the line at fault.
        StoreError, RunError: as the verbs.
    """
    recipe = await asyncio.to_thread(request_from_modelfile, name, modelfile, folder)
    request = replace(recipe.request, caller=caller)
    if recipe.files or recipe.draft is not None:
        yield Progress("gathering model components")
    digests: dict[Path, str] = {}
    for path in (*recipe.files.values(), recipe.draft):
        if path is not None:
            digests[path] = await _known_blob(client, path) or str(await asyncio.to_thread(_hash, path))
            if not await client.has_blob(digests[path]):
                async for progress in _upload(client, path, digests[path], path.stat().st_size):
                    yield progress
    if recipe.files:
        request = replace(request, files={name: digests[path] for name, path in recipe.files.items()})
    if recipe.draft is not None:
        request = replace(request, draft_files={recipe.draft.name: digests[recipe.draft]})
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
