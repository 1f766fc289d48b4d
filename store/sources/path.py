"""Models from a GGUF file on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from corral.store.blobs import BlobStore
from corral.store.errors import NotGguf, SourceError
from corral.store.gguf import read_header
from corral.store.progress import Progress
from corral.store.sources.source import Fetched, Job, plain_name


class PathSource:
    """Takes the path of a `.gguf` file; the file itself is left as it is."""

    async def fetch(self, spec: str, blobs: BlobStore) -> AsyncGenerator[Progress | Fetched, None]:
        """Copy the file in, sharing its blocks where the file system can; see `Source.fetch`."""
        path = Path(spec).expanduser()
        try:
            header = await asyncio.to_thread(read_header, path)
        except NotGguf as error:
            raise SourceError(f"{path.name}: {error}") from error
        status = f"copying {path.name}"
        yield Progress(status, total=header.file_size)
        job = Job(lambda step: blobs.adopt(path, step))
        async with aclosing(job.steps()) as steps:
            async for completed in steps:
                yield Progress(status, total=header.file_size, completed=min(completed, header.file_size))
        blob = job.result
        # What came in is what counts: the file may have changed since the first look.
        header = await asyncio.to_thread(read_header, blobs.path(blob.digest))
        yield Fetched(blob.digest, blob.size, plain_name(header, path.name), header)
