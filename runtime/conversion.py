"""Weights and adapters in safetensors, uploaded file by file, made into one GGUF blob of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from corral.runtime.verbs import Progress
from corral.store.blobs import Blob, BlobStore
from corral.store.disk import require_space
from corral.store.gguf import GgufHeader, read_header
from corral.store.names import Digest

_STEP_S = 0.2


class _Abandoned(Exception):
    """Nobody waits for the model any more."""


class Conversion:
    """One conversion. Used by the service loop; the work is done in a thread, which ends when `steps` is closed.

    `adapted` is the header of the weights that an adapter is for, None where the files are a model.
    """

    def __init__(
        self, blobs: BlobStore, files: Mapping[str, Digest], name: str, adapted: GgufHeader | None = None
    ) -> None:
        self._blobs = blobs
        self._files = files
        self._name = name
        self._adapted = adapted
        self._done = self._total = 0
        self._abandoned = False
        self.made: tuple[Blob, GgufHeader] | None = None

    @staticmethod
    def is_for(files: Mapping[str, str]) -> bool:
        """Whether these files are what is converted."""
        return any(name.endswith(".safetensors") for name in files)

    async def steps(self) -> AsyncGenerator[Progress, None]:
        """Convert, telling how far it is (spec a.18); afterwards `made` is there.

        Raises:
            ConversionError: the files are no model that can be converted; the message names what is wrong.
            StoreError: a blob is missing, or the disk is full.
        """
        status = "converting adapter" if self._adapted else "converting model"
        yield Progress(status)
        work = asyncio.create_task(asyncio.to_thread(self._convert))
        shown = 0
        try:
            while not (await asyncio.wait({work}, timeout=_STEP_S))[0]:
                if self._done != shown:
                    shown = self._done
                    yield Progress(status, total=self._total, completed=shown)
            self.made = await work
        finally:
            self._abandoned = True
            await asyncio.gather(work, return_exceptions=True)
        yield Progress("verifying conversion")

    def _convert(self) -> tuple[Blob, GgufHeader]:
        from corral.store.convert import convert, convert_adapter  # brings the gguf package, which only this needs

        paths = {name: self._blobs.path(digest) for name, digest in self._files.items()}
        with self._blobs.writer() as writer:
            if self._adapted is not None:
                convert_adapter(paths, writer, base=self._adapted, on_progress=self._note)
            else:
                convert(paths, writer, on_progress=self._note, name=self._name)
            header = read_header(writer.staged())
            return writer.commit(), header

    def _note(self, done: int, total: int) -> None:
        if self._abandoned:
            raise _Abandoned
        if not self._total:
            require_space(self._blobs.paths.root, total)
        self._done, self._total = done, total
