"""From a Modelfile to a model: what it says as a request, and the way of its file into the store.

The command line and the editor do this on their side of a client, so it works with a server elsewhere too.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from corral.runtime.errors import InvalidParameter
from corral.runtime.options import parse_parameters
from corral.runtime.verbs import Caller, Client, CreateRequest, Message, Progress
from corral.store.errors import InvalidName, ModelfileError, NotGguf, StoreError
from corral.store.gguf import read_header
from corral.store.modelfile import Command, Modelfile
from corral.store.names import Digest, ModelName

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Modelfile as a request. `weights` is the GGUF file it is made from; None where it names a model.

    `draft` is that of the model that guesses for it, None where it has none of its own.
    """

    request: CreateRequest
    weights: Path | None
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
    weights: Path | None = None
    draft: Path | None = None
    for command in modelfile.commands:
        match command.name:
            case "from":
                if request.base is not None or weights is not None:
                    raise ModelfileError("only one FROM is supported", command.line)
                weights = _gguf(command, folder)
                if weights is None:
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
    if request.base is None and weights is None:
        raise ModelfileError("no FROM line")
    return Recipe(replace(request, parameters=parse_parameters(lines)), weights, draft)


def _check_parameter(command: Command) -> None:
    try:
        parse_parameters([(command.key, command.value)])
    except InvalidParameter as error:
        raise ModelfileError(str(error), command.line) from None


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
    if recipe.weights is not None or recipe.draft is not None:
        yield Progress("gathering model components")
    digests: dict[Path, str] = {}
    for path in (recipe.weights, recipe.draft):
        if path is not None:
            digests[path] = await _known_blob(client, path) or str(await asyncio.to_thread(_hash, path))
            if not await client.has_blob(digests[path]):
                async for progress in _upload(client, path, digests[path], path.stat().st_size):
                    yield progress
    if recipe.weights is not None:
        request = replace(request, files={recipe.weights.name: digests[recipe.weights]})
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
