"""GGUF files on the web: `https://host/path/model.gguf`; a page of a file on Hugging Face means the file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from corral.store.addresses import origin_of
from corral.store.blobs import Blob, BlobStore
from corral.store.errors import NotGguf, SourceError
from corral.store.gguf import read_header
from corral.store.names import Digest
from corral.store.partial import Partial
from corral.store.progress import Progress
from corral.store.ranges import Span
from corral.store.registries import HUB_HOSTS
from corral.store.registry import body_of
from corral.store.retry import Again, Attempts, Patience, RateLimit
from corral.store.sources.source import Fetched, plain_name
from corral.store.transfer import Body, Download, Downloads, Pace
from corral.store.web import Refused, Web, check


def is_file_url(text: str) -> bool:
    """Whether a text means a GGUF file on the web, and not a model of a registry."""
    if not text.lower().startswith(("https://", "http://")):
        return False
    return urlsplit(text).path.lower().endswith(".gguf")


@dataclass(frozen=True, slots=True)
class _File:
    """What a server says of a file; `version` changes with its content, "" where it does not say."""

    size: int
    version: str


class UrlSource:
    """Downloads of single files, resumed as long as the server says that the file is still the same."""

    def __init__(
        self, web: Web, downloads: Downloads, *, patience: Patience | None = None, pace: Pace | None = None
    ) -> None:
        self._web = web
        self._downloads = downloads
        self._patience = patience or Patience()
        self._pace = pace

    async def fetch(
        self, url: str, blobs: BlobStore, limit: RateLimit | None = None
    ) -> AsyncGenerator[Progress | Fetched, None]:
        """Bring the file in; see `Source.fetch`."""
        url = _plain(url)
        file_name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
        status = f"fetching {file_name}"
        yield Progress(status)
        file = await self._look(url)
        key = Digest(hashlib.sha256(url.encode()).hexdigest())

        def look_inside(partial: Partial) -> None:
            try:
                read_header(partial.path)
            except NotGguf as error:
                partial.discard()
                raise SourceError(f"{file_name}: {error}") from error

        def make() -> Download:
            return Download(
                blobs.paths,
                _UrlOrigin(self._web, url, file),
                file.size,
                None,
                key=key,
                identity=file.version,
                limit=limit,
                patience=self._patience,
                pace=self._pace,
                check=look_inside,
            )

        async with aclosing(self._downloads.follow(url, key, make)) as steps:
            async for step in steps:
                if isinstance(step, Blob):
                    header = await asyncio.to_thread(read_header, blobs.path(step.digest))
                    yield Fetched(step.digest, step.size, plain_name(header, file_name), header)
                else:
                    yield Progress(status, str(key), file.size, step)

    async def size(self, url: str) -> int:
        """Ask how many bytes a file has; raises as `fetch`."""
        return (await self._look(_plain(url))).size

    async def _look(self, url: str) -> _File:
        """Ask how large the file is.

        Raises:
            SourceError: there is no such file, or nobody says how large it is.
        """
        attempts = Attempts(self._patience)
        while True:
            try:
                # One byte instead of a HEAD, which storage that wants signed addresses often refuses.
                async with self._web.open("GET", url, {"Range": "bytes=0-0"}) as response:
                    await check(response)
                    total = response.headers.get("Content-Range", "").rpartition("/")[2]
                    size = total or response.headers.get("Content-Length", "")
                    version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                break
            except Refused as error:
                reason = "file does not exist" if error.status == 404 else str(error)
                raise SourceError(f"{origin_of(url)[1]}: {reason}") from error
            except Again as error:
                await asyncio.sleep(attempts.wait_s(error))
        if not (size.isascii() and size.isdigit() and 0 < int(size) < 2**63):
            raise SourceError(f"{origin_of(url)[1]} does not say how large the file is")
        return _File(int(size), version)


class _UrlOrigin:
    """A file at an address; implements `transfer.Origin`."""

    def __init__(self, web: Web, url: str, file: _File) -> None:
        self._web = web
        self._url = url
        self._file = file

    def open(self, span: Span) -> AbstractAsyncContextManager[Body]:
        """See `transfer.Origin`."""
        return self._open(span)

    @contextlib.asynccontextmanager
    async def _open(self, span: Span) -> AsyncGenerator[Body, None]:
        async with self._web.open("GET", self._url, {"Range": f"bytes={span.start}-{span.end - 1}"}) as response:
            await check(response)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            if version != self._file.version:
                raise SourceError(f"{response.url.host}: the file changed while it was fetched; fetch it again")
            async with body_of(response, span, self._file.size) as body:
                yield body


def _plain(url: str) -> str:
    """The address of a file itself; without what comes after a #."""
    url = url.partition("#")[0]
    parts = urlsplit(url)
    if (parts.hostname or "").lower() in HUB_HOSTS:
        # /user/repo/blob/main/file is the page about /user/repo/resolve/main/file.
        pieces = parts.path.split("/")
        if len(pieces) > 4 and pieces[3] == "blob":
            pieces[3] = "resolve"
            return parts._replace(path="/".join(pieces)).geturl()
    return url
