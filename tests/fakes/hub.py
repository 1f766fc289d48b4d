"""Hugging Face in a few lines: the list of a repository's files, page by page, and the files, which lie elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.registry import FakeRegistry


@dataclass
class FakeHub(FakeRegistry):
    """`files` are those of ada/tiny by path. `secret` is the token that the repository wants, "" for none.

    `elsewhere` has the bytes under their digests, as a `FakeRegistry` of its own. `gated` lets the token list the files
    and not have them. As a registry it knows only `manifests`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    secret: str = ""
    gated: bool = False
    page: int = 2
    revision: str = "main"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/v2/"):
            return await super()._handle(request)
        self._note(request)
        if self.secret and request.headers.get("Authorization") != f"Bearer {self.secret}":
            return web.json_response({"error": "Invalid username or password."}, status=401)
        if request.path == f"/api/models/ada/tiny/tree/{self.revision}":
            return self._list(request)
        start = f"/ada/tiny/resolve/{self.revision}/"
        if request.path.startswith(start):
            if self.gated:
                return web.json_response({"error": "Access to model ada/tiny is restricted."}, status=403)
            digest = hashlib.sha256(self.files[request.path.removeprefix(start)]).hexdigest()
            return web.Response(status=302, headers={"Location": f"{self.elsewhere}/blobs/sha256:{digest}"})
        return web.json_response({"error": "Repository not found"}, status=404)

    def _list(self, request: web.Request) -> web.Response:
        first = int(request.query.get("cursor", "0"))
        entries = [{"type": "directory", "path": "Q8_0", "size": 0}]
        shown = list(self.files.items())[first : first + self.page]
        lfs = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)} for _, data in shown]
        files = [
            {"type": "file", "path": path, "size": one["size"], "lfs": one}
            for (path, _), one in zip(shown, lfs, strict=True)
        ]
        more = first + self.page < len(self.files)
        following = f'<{self.base}{request.path}?recursive=true&cursor={first + self.page}>; rel="next"'
        return web.json_response([*entries, *files], headers={"Link": following} if more else {})
