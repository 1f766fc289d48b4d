"""What a place models come from does, and what all of them need: work in threads, and a name for what came."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from corral.store.blobs import BlobStore
from corral.store.errors import InvalidName
from corral.store.gguf import GgufHeader
from corral.store.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, Digest, ModelName
from corral.store.progress import Progress

T = TypeVar("T")

#: How often somebody who waits is told how far a job is, in seconds.
STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Fetched:
    """A GGUF file that has come into the store, `size` in bytes, and the name to give it if the user has none."""

    digest: Digest
    size: int
    name: ModelName
    header: GgufHeader


class Source(Protocol):
    """A place models come from."""

    def fetch(self, spec: str, blobs: BlobStore) -> AsyncGenerator[Progress | Fetched, None]:
        """Bring what `spec` means into the store: progress, and as the last item what came.

        Closing the generator or cancelling its task stops the work and leaves nothing half-done behind.

        Raises:
            SourceError: there is no such thing, or it is no model.
            NoSpace, StoreReadOnly, StoreError: the store cannot take it.
        """
        ...


class Stopped(Exception):
    """Raised inside a thread whose result nobody waits for any more."""


class Job(Generic[T]):
    """Blocking work in a thread, watched from a loop. The work calls the function it gets with the bytes done."""

    def __init__(self, work: Callable[[Callable[[int], None]], T]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._completed = 0
        self._results: list[T] = []

    @property
    def result(self) -> T:
        """What the work returned; only after `steps` has come to its end."""
        return self._results[0]

    async def steps(self) -> AsyncGenerator[int, None]:
        """Do the work: the bytes done, each time they have grown. Its exceptions come out here.

        Left early, it waits until the thread has noticed, so that whatever the thread used may be removed.
        """
        future = asyncio.get_running_loop().run_in_executor(None, self._work, self._step)
        told = 0
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=STEP_S)
                if self._completed != told:
                    told = self._completed
                    yield told
            self._results.append(future.result())
        finally:
            self._stop.set()
            await asyncio.wait({future})
            if not future.cancelled():
                future.exception()

    def _step(self, completed: int) -> None:
        self._completed = completed
        if self._stop.is_set():
            raise Stopped


_FILE_NAME = re.compile(
    r"(?P<base>.+?)[-_.](?P<size>\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[kmbt])(?=[-_.]|$)",
    re.IGNORECASE,
)
_QUANT = re.compile(r"[-_.](?:i?q\d\w*|[bf]p?f?(?:16|32)|mxfp4\w*|tq\d\w*)$", re.IGNORECASE)
_FOREIGN = re.compile(r"[^a-z0-9_.]+")


def plain_name(header: GgufHeader, file_name: str) -> ModelName:
    """The name a model gets that comes without one: `smollm2:135m`, from its metadata, else from its file's name.

    File names are read as `<Base>-<Size>[-<Finetune>][.|-]<Quant>.gguf`.
    """
    stem = re.sub(r"\.gguf$", "", file_name.replace("\\", "/").rsplit("/", 1)[-1], flags=re.IGNORECASE)
    stem = _QUANT.sub("", stem)
    match = _FILE_NAME.match(stem)
    base = _slug(header.text("general.basename")) or _slug(match["base"] if match else stem)
    size = _slug(header.text("general.size_label")) or _slug(match["size"] if match else "")
    try:
        return ModelName(DEFAULT_HOST, DEFAULT_NAMESPACE, base or "model", size or DEFAULT_TAG)
    except InvalidName:
        return ModelName(DEFAULT_HOST, DEFAULT_NAMESPACE, "model", DEFAULT_TAG)


def _slug(text: str) -> str:
    return _FOREIGN.sub("-", text.lower()).strip("-._")[:80].rstrip("-._")
