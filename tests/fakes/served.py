"""The workbench from memory, as a service holds it, and a service on it, spoken to over a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from msgspec.structs import replace

from corral.api.server import Service
from corral.runtime.requests import RequestLog
from corral.runtime.settings_change import SettingsChange
from corral.runtime.snapshot import Snapshot
from tests.fakes.client import FakeClient, summary

MODEL = "smollm2:135m"


@dataclass
class ServedFake(FakeClient):
    """Answers like `FakeClient`; `serving` is the address it was told, `ended` that it was closed."""

    requests: RequestLog = field(default_factory=lambda: RequestLog(time.monotonic, time.time))
    serving: str = ""
    ended: bool = False
    change: SettingsChange = field(default_factory=SettingsChange)

    @classmethod
    def with_models(cls, *names: str) -> ServedFake:
        client = cls()
        client.models = {name: summary(name) for name in names}
        return client

    async def start(self, serving: str = "") -> None:
        self.serving = serving

    def snapshot_now(self) -> Snapshot:
        """What holds, with the requests as they are."""
        return replace(self.snapshot, at_s=time.monotonic(), requests=self.requests.rows())

    async def cancel(self, request_id: str) -> bool:
        await super().cancel(request_id)
        return self.requests.cancel(request_id)

    async def reload_settings(self) -> SettingsChange:
        return self.change

    async def close(self) -> None:
        self.ended = True


@dataclass(frozen=True)
class Served:
    """A service on a fake workbench, spoken to over a real socket."""

    fake: ServedFake
    service: Service

    @property
    def port(self) -> int:
        return int(self.service.address.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are and read until the server closes or has answered."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            while True:
                piece = connection.recv(65536)
                answer += piece
                if not piece or _whole(answer):
                    return answer

    def status_of(self, *headers: str, line: str = "GET /api/tags HTTP/1.1") -> int:
        """The status of a request with exactly these headers."""
        head = "\r\n".join((line, *headers, "Content-Length: 0", "", ""))
        return int(self.raw(head.encode("latin-1")).split(b" ", 2)[1])

    def request(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        with httpx.Client(base_url=self.service.base_url, trust_env=False, verify=False, timeout=20) as client:
            return client.request(method, path, content=content, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return self.request("POST", path, body, **headers)

    def lines(self, path: str, body: object) -> list[dict[str, Any]]:
        response = self.post(path, body)
        assert response.status_code == 200, response.text
        return [json.loads(line) for line in response.text.splitlines()]


def _whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return head.startswith(b"HTTP/1.1 204") or body.endswith(b"0\r\n\r\n")


Serve = Callable[..., Served]
Until = Callable[[Callable[[], bool]], None]
