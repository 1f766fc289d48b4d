"""Models of Hugging Face by its file API: what its registry refuses (split models), and what it cannot be asked for.

`hf.co/user/repo[:quantization][@revision][#mmproj=which]`. The user's token goes to the hub alone: files come from
another host that the hub leads to, and `Web` sends credentials to nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from urllib.parse import quote, urljoin

import msgspec

from corral.store.addresses import origin_of
from corral.store.blobs import Blob, BlobStore
from corral.store.disk import require_space
from corral.store.errors import InvalidDigest, InvalidName, NotGguf, SourceError
from corral.store.file_names import is_gguf, is_projector_name, preference, projector_preference, take_apart
from corral.store.gguf import read_header
from corral.store.names import DEFAULT_TAG, Digest, ModelName
from corral.store.partial import Partial
from corral.store.progress import Progress
from corral.store.ranges import Span
from corral.store.registries import HUB_HOSTS, Hub
from corral.store.registry import body_of
from corral.store.retry import Again, Attempts, Patience, RateLimit
from corral.store.transfer import Body, Download, Downloads, Pace
from corral.store.web import Refused, Web, check, read

_LONGEST_LISTING = 16 << 20
_LONGEST_TOKEN = 1 << 10
_MOST_PAGES = 50
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,100}\Z")
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class HubSpec:
    """What is asked for. `revision` and `projector` are "" where nothing is said of them."""

    user: str
    repo: str
    quant: str
    revision: str = ""
    projector: str = ""

    @property
    def shown(self) -> str:
        """The repository as messages call it."""
        return f"hf.co/{self.user}/{self.repo}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, with the digest that the hub says its bytes have."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class FromHub:
    """The files that came: the parts of the weights in their order, a projector perhaps, and a name for the model."""

    weights: tuple[Digest, ...]
    projectors: tuple[Digest, ...]
    name: ModelName


def parse_hub(text: str) -> HubSpec | None:
    """Read what may be a model on Hugging Face; None for everything else.

    Raises:
        InvalidName: it is one, with a name, a revision or a choice that is none.
    """
    rest = text.removeprefix("https://")
    rest, hash_, choice = rest.partition("#")
    rest, at, revision = rest.partition("@")
    if rest.partition("/")[0].lower() not in HUB_HOSTS:
        return None
    name = ModelName.parse(rest)
    key, _, projector = choice.partition("=")
    if (at and not (_REVISION.match(revision) and ".." not in revision)) or (
        hash_ and (key != "mmproj" or not projector)
    ):
        raise InvalidName(text)
    if name.host.lower() not in HUB_HOSTS:
        raise InvalidName(text)
    return HubSpec(name.namespace, name.model, name.tag, revision, projector)


class _Lfs(msgspec.Struct, frozen=True):
    oid: str = ""
    size: int = 0


class _Entry(msgspec.Struct, frozen=True):
    type: str = ""
    path: str = ""
    size: int = 0
    lfs: _Lfs | None = None


_ENTRIES = msgspec.json.Decoder(list[_Entry])


class HubSource:
    """Fetches the files of one quantization of a repository. Owned by one loop."""

    def __init__(
        self, web: Web, downloads: Downloads, hub: Hub, *, patience: Patience | None = None, pace: Pace | None = None
    ) -> None:
        self._web = web
        self._downloads = downloads
        self._hub = hub
        self._patience = patience or Patience()
        self._pace = pace

    async def fetch(
        self, spec: HubSpec, blobs: BlobStore, limit: RateLimit | None = None
    ) -> AsyncGenerator[Progress | FromHub, None]:
        """Bring the files in: progress, and as the last item what came.

        Raises:
            SourceError: there is no such repository, revision or quantization, or it is not for us.
            DigestMismatch, NoSpace, StoreReadOnly, StoreError: see `transfer.Download`.
        """
        headers = await asyncio.to_thread(self._headers)
        files = await self._files(spec, headers)
        weights = choose_weights(spec, files)
        projectors = choose_projector(spec, files)
        wanted = (*weights, *projectors)
        missing = [file for file in wanted if not await asyncio.to_thread(blobs.has, file.digest)]
        await asyncio.to_thread(require_space, blobs.paths.root, sum(file.size for file in missing))
        whole, parts = sum(file.size for file in wanted), len(wanted)
        for file in wanted:
            status, digest = f"pulling {file.digest.short}", str(file.digest)
            yield Progress(status, digest, file.size, 0 if file in missing else file.size, whole, parts)
            if file in missing:
                async with aclosing(self._fetch(spec, file, headers, blobs, limit)) as steps:
                    async for completed in steps:
                        yield Progress(status, digest, file.size, completed, whole, parts)
        yield Progress("verifying sha256 digest")
        quant = _FOREIGN.sub("-", take_apart(weights[0].path.rpartition("/")[2]).quant) or DEFAULT_TAG
        tag = f"{quant}-{_FOREIGN.sub('-', spec.revision)}"[:80] if spec.revision else spec.quant
        name = ModelName("hf.co", spec.user, spec.repo, tag)
        yield FromHub(tuple(file.digest for file in weights), tuple(file.digest for file in projectors), name)

    async def _fetch(
        self, spec: HubSpec, file: HubFile, headers: dict[str, str], blobs: BlobStore, limit: RateLimit | None
    ) -> AsyncGenerator[int, None]:
        where = f"{self._hub.url}/{spec.user}/{spec.repo}/resolve/{quote(spec.revision or 'main', safe='')}"
        origin = _HubOrigin(self._web, f"{where}/{quote(file.path)}", file.size, headers)

        def look_inside(partial: Partial) -> None:
            try:
                read_header(partial.path)
            except NotGguf as error:
                partial.discard()
                raise SourceError(f"{file.path}: {error}") from error

        def make() -> Download:
            return Download(
                blobs.paths,
                origin,
                file.size,
                file.digest,
                limit=limit,
                patience=self._patience,
                pace=self._pace,
                check=look_inside,
            )

        try:
            async with aclosing(self._downloads.follow(where, file.digest, make)) as steps:
                async for step in steps:
                    if not isinstance(step, Blob):
                        yield step
        except Refused as error:
            raise self._refusal(spec, error, bool(headers)) from error
        except Again as error:
            raise SourceError(str(error)) from error

    def _headers(self) -> dict[str, str]:
        """The user's token, read anew each time: it is renewed while a server runs."""
        token = self._hub.token
        if not token and self._hub.token_file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError), self._hub.token_file.open("rb") as file:
                token = file.read(_LONGEST_TOKEN).decode("ascii").strip()
        return {"Authorization": f"Bearer {token}"} if token.isascii() and token.isprintable() and token else {}

    async def _files(self, spec: HubSpec, headers: dict[str, str]) -> tuple[HubFile, ...]:
        """Every GGUF file of the repository."""
        revision = quote(spec.revision or "main", safe="")
        url = f"{self._hub.url}/api/models/{spec.user}/{spec.repo}/tree/{revision}?recursive=true"
        found: list[HubFile] = []
        for _ in range(_MOST_PAGES):
            data, following = await self._page(spec, url, headers)
            try:
                entries = _ENTRIES.decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise SourceError(f"{spec.shown}: the list of its files cannot be read") from error
            for entry in entries:
                if entry.type == "file" and is_gguf(entry.path) and entry.lfs is not None and entry.lfs.size > 0:
                    with contextlib.suppress(InvalidDigest):
                        found.append(HubFile(entry.path, entry.lfs.size, Digest.parse(f"sha256:{entry.lfs.oid}")))
            if not following:
                break
            url = urljoin(url, following)
            if origin_of(url) != origin_of(self._hub.url):
                raise SourceError(f"{spec.shown}: the list of its files goes on at another host")
        return tuple(found)

    async def _page(self, spec: HubSpec, url: str, headers: dict[str, str]) -> tuple[bytes, str]:
        attempts = Attempts(self._patience)
        while True:
            try:
                async with self._web.open("GET", url, headers) as response:
                    await check(response)
                    following = _NEXT.search(response.headers.get("Link", ""))
                    return await read(response, _LONGEST_LISTING), following[1] if following else ""
            except Refused as error:
                raise self._refusal(spec, error, bool(headers)) from error
            except Again as error:
                await asyncio.sleep(attempts.wait_s(error))

    def _refusal(self, spec: HubSpec, error: Refused, known: bool) -> SourceError:
        """What a refusal means for a person: the hub answers 401 for what is not there too."""
        if error.status == 401 and not known:
            return SourceError(
                f"{spec.shown}: no such repository, or it is private or gated: set HF_TOKEN to a token that may read it"
            )
        if error.status == 401:
            return SourceError(f"{spec.shown}: no such repository, or the token in HF_TOKEN may not read it")
        if error.status == 403:
            return SourceError(
                f"{spec.shown} is gated: accept its terms on its page, then set HF_TOKEN to a token of yours"
            )
        if error.status == 404:
            return SourceError(f"{spec.shown}: no such repository, revision or file")
        return SourceError(f"{spec.shown}: {error}")


class _HubOrigin:
    """A file of a repository; implements `transfer.Origin`."""

    def __init__(self, web: Web, url: str, size: int, headers: dict[str, str]) -> None:
        self._web = web
        self._url = url
        self._size = size
        self._headers = headers

    def open(self, span: Span) -> AbstractAsyncContextManager[Body]:
        """See `transfer.Origin`."""
        return self._open(span)

    @contextlib.asynccontextmanager
    async def _open(self, span: Span) -> AsyncGenerator[Body, None]:
        headers = {**self._headers, "Range": f"bytes={span.start}-{span.end - 1}"}
        async with self._web.open("GET", self._url, headers) as response:
            await check(response)
            async with body_of(response, span, self._size) as body:
                yield body


def choose_weights(spec: HubSpec, files: tuple[HubFile, ...]) -> tuple[HubFile, ...]:
    """The file of the quantization that is asked for, or all its parts in order; without one the usual, Q4_K_M first.

    Raises:
        SourceError: there is none, with what there is; or parts of it are missing.
    """
    offers: dict[tuple[str, str, int], list[HubFile]] = {}
    for file in files:
        folder, _, base = file.path.rpartition("/")
        if not is_projector_name(base) and "imatrix" not in base.lower():
            apart = take_apart(base)
            offers.setdefault((f"{folder}/{apart.stem}", apart.quant, apart.parts), []).append(file)
    if not offers:
        raise SourceError(f"{spec.shown} has no GGUF files: convert its safetensors with 'corral create'")
    asked = spec.quant.lower()
    if asked == DEFAULT_TAG:
        keys = sorted(offers, key=lambda key: (preference(key[1]), sum(one.size for one in offers[key]), key))
    else:
        keys = sorted(key for key in offers if asked in (key[1].lower(), _stem(key).lower()))
        if not keys:
            there = ", ".join(sorted({key[1] or _stem(key) for key in offers}))
            raise SourceError(f"{spec.shown} has no {spec.quant}: it has {there}")
    parts = sorted(offers[keys[0]], key=lambda file: take_apart(file.path).part)
    if [take_apart(file.path).part for file in parts] != list(range(1, keys[0][2] + 1)):
        raise SourceError(f"{spec.shown}: parts of {parts[0].path} are missing: {len(parts)} of {keys[0][2]} are there")
    return tuple(parts)


def _stem(key: tuple[str, str, int]) -> str:
    stem = key[0].rpartition("/")[2]
    return f"{stem}-{key[1]}" if key[1] else stem


def choose_projector(spec: HubSpec, files: tuple[HubFile, ...]) -> tuple[HubFile, ...]:
    """The projector that is asked for by precision or file name; F16 first without one, none for `mmproj=none`.

    Raises:
        SourceError: there is no such projector.
    """
    found = [file for file in files if is_projector_name(file.path.rpartition("/")[2])]
    asked = spec.projector.lower()
    if asked == "none" or (not found and not asked):
        return ()
    if asked:
        fitting = [
            file
            for file in found
            if asked in (take_apart(file.path.rpartition("/")[2]).quant.lower(), file.path.lower())
        ]
        if not fitting:
            there = ", ".join(file.path for file in found) or "none"
            raise SourceError(f"{spec.shown} has no projector {spec.projector}: it has {there}")
        return (fitting[0],)
    found.sort(key=lambda file: (projector_preference(take_apart(file.path).quant), file.path))
    return (found[0],)
