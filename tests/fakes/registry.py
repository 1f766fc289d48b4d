"""A registry of a few lines that fails on demand: cuts, lies, hangs, redirects, and forgets its tokens."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from tests.fakes.ending import end_runner

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
MODEL = "application/vnd.ollama.image.model"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    host: str
    authorization: str
    range: str
    cookie: str = ""


@dataclass
class FakeRegistry:
    """Serves `blobs` and `manifests` ("namespace/model:tag"). Faults are taken from its fields, once each in lists.

    `cuts` are the bytes after which an answer with a blob breaks off, `failures` what a blob request gets instead
    (status and `Retry-After`). `hang` is asked for every blob request's first byte; the answer waits until it lets go.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    ranges: bool = True
    elsewhere: str = ""
    """The address of the host that has the blobs, to which requests are redirected."""
    tokens: list[str] = field(default_factory=list)
    """What is accepted as a bearer token; the first is given to who asks. Empty: everybody may read."""
    realm: str = ""
    token_refuses: Callable[[str], bool] = lambda authorization: False
    hang: Callable[[int], asyncio.Event | None] = lambda start: None
    seen: list[Seen] = field(default_factory=list)
    base: str = ""
    uploads: dict[str, bytearray] = field(default_factory=dict)
    break_uploads: int = 0

    def add(self, name: str, *layers: bytes, kind: str = MODEL) -> bytes:
        """Put a model in; returns its manifest."""
        config = json.dumps({"model_format": "gguf", "model_family": "llama"}).encode()
        parts = [{"mediaType": kind, "digest": digest_of(one), "size": len(one)} for one in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": parts,
        }
        self.blobs |= {digest_of(one): one for one in (config, *layers)}
        self.manifests[name] = json.dumps(manifest, indent=1).encode()
        return self.manifests[name]

    def blob_requests(self) -> list[Seen]:
        return [one for one in self.seen if "/blobs/" in one.path and one.method == "GET"]

    def _note(self, request: web.Request) -> None:
        self.seen.append(
            Seen(
                request.method,
                request.path,
                request.headers.get("Host", ""),
                request.headers.get("Authorization", ""),
                request.headers.get("Range", ""),
                request.headers.get("Cookie", ""),
            )
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        parts = request.path.strip("/").split("/")
        if parts[0] == "token":
            return self._token(request)
        if parts[0] == "v2" and self.tokens and request.headers.get("Authorization", "")[7:] not in self.tokens:
            realm = self.realm or f"{self.base}/token"
            challenge = f'Bearer realm="{realm}",service="fake",scope="repository:x:pull"'
            return web.json_response(
                {"errors": [{"message": "log in"}]}, status=401, headers={"WWW-Authenticate": challenge}
            )
        if parts[-2] == "manifests":
            return await self._manifest(request, f"{parts[1]}/{parts[2]}:{parts[-1]}")
        if "uploads" in parts:
            return await self._upload(request, parts)
        return await self._blob(request, parts[-1])

    def _token(self, request: web.Request) -> web.StreamResponse:
        if self.token_refuses(request.headers.get("Authorization", "")):
            return web.json_response({"errors": [{"message": "who are you"}]}, status=401)
        return web.json_response({"token": self.tokens[0]})

    async def _manifest(self, request: web.Request, name: str) -> web.StreamResponse:
        if request.method == "PUT":
            self.manifests[name] = await request.read()
            return web.Response(status=201)
        if name not in self.manifests:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}, status=404)
        return web.Response(body=self.manifests[name], content_type=DOCKER)

    async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        data = self.blobs.get(digest)
        if data is None:
            return web.json_response({"errors": [{"message": "blob unknown"}]}, status=404)
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(data))})
        if self.failures:
            status, after = self.failures.pop(0)
            return web.Response(status=status, headers={"Retry-After": after} if after else {}, text="<h1>no</h1>")
        if self.elsewhere:
            return web.Response(status=307, headers={"Location": f"{self.elsewhere}/blobs/{digest}?signed=1"})
        start, end = 0, len(data)
        if self.ranges and "Range" in request.headers:
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(data))
        response = web.StreamResponse(status=206 if self.ranges else 200)
        if self.ranges:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        response.content_length = end - start
        await response.prepare(request)
        if event := self.hang(start):
            await event.wait()
        if self.cuts and end - start > self.cuts[0]:
            await response.write(data[start : start + self.cuts.pop(0)])
            assert request.transport is not None
            request.transport.close()
            return response
        with contextlib.suppress(ConnectionError):
            for at in range(start, end, 8192):
                await response.write(data[at : min(end, at + 8192)])
            await response.write_eof()
        return response

    async def _upload(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        where = f"/v2/{parts[1]}/{parts[2]}/blobs/uploads"
        if request.method == "POST":
            mounted = request.query.get("mount", "")
            if mounted in self.blobs:
                return web.Response(status=201)
            number = str(len(self.uploads))
            self.uploads[number] = bytearray()
            return web.Response(status=202, headers={"Location": f"{where}/{number}?state=0"})
        number = parts[-1]
        held = self.uploads[number]
        location = {"Location": f"{where}/{number}?state={len(held)}"}
        if request.method == "GET":
            return web.Response(status=204, headers={**location, "Range": f"0-{max(0, len(held) - 1)}"})
        if request.method == "PATCH":
            if self.break_uploads:
                self.break_uploads -= 1
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            first = request.headers["Content-Range"].partition("-")[0]
            if int(first) != len(held):
                return web.Response(status=416)
            held += await request.read()
            location = {"Location": f"{where}/{number}?state={len(held)}"}
            return web.Response(status=202, headers=location)
        held += await request.read()
        if digest_of(bytes(held)) != request.query["digest"]:
            return web.json_response({"errors": [{"message": "digest invalid"}]}, status=400)
        self.blobs[request.query["digest"]] = bytes(held)
        return web.Response(status=201)

    @contextlib.asynccontextmanager
    async def served(self, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        """Listen on a free port."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://{host}:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await end_runner(runner)
