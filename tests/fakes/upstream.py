"""A server elsewhere, of a few lines: speaks OpenAI's API, with the faults that real ones have, told by the test."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.ending import end_runner
from tests.programs import free_port

WORDS = ("one ", "two ", "three ")
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}


@dataclass
class Upstream:
    """`events` is what a chat streams. It fails `failing` of its requests before they stream, as `fault` says.

    Faults: "status" answers with `status` and the headers of `says`, "close" ends the connection, "truncate" ends the
    answer before its first word. With `breaks_after` words an answer ends without its end; with `gate` the words after
    the first wait for it.
    `tokens` is whose routes about tokens it has, "llama.cpp" or "vllm"; a token is a byte there. "ollama" is a server
    that speaks Ollama's API and only tells what a model would be sent. With `tls` it speaks https; `name` is what it
    is called.
    `asked` holds bodies, `headers` those of the last request, `dropped` counts clients that went away.
    """

    events: list[dict[str, Any]] = field(default_factory=lambda: text_events(*WORDS))
    failing: float = 0.0
    fault: str = "status"
    status: int = 503
    says: dict[str, str] = field(default_factory=dict)
    error: object = field(default_factory=lambda: {"error": {"message": "out of order", "type": "x"}})
    breaks_after: int | None = None
    gate: asyncio.Event | None = None
    is_well: bool = True
    tokens: str = ""
    location: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    connections: set[object] = field(default_factory=set)
    dropped: int = 0
    at_once: int = 0
    most_at_once: int = 0
    checks: int = 0
    port: int = 0
    pause_s: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    runner: web.AppRunner | None = None
    tls: ssl.SSLContext | None = None
    name: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.name}:{self.port}"

    async def start(self) -> None:
        """Listen; on the port it had before, if it had one."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._stream)
        app.router.add_post("/v1/completions", self._stream)
        app.router.add_post("/v1/embeddings", self._reply)
        app.router.add_post("/v1/rerank", self._reply)
        if self.tokens == "ollama":
            app.router.add_get("/api/version", self._version)
            app.router.add_post("/api/chat", self._rendered)
            app.router.add_post("/api/generate", self._rendered)
        elif self.tokens:
            app.router.add_post("/tokenize", self._tokenize)
            app.router.add_post("/detokenize", self._detokenize)
        if self.tokens == "llama.cpp":
            app.router.add_post("/apply-template", self._template)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        here = "::1" if self.name == "[::1]" else "127.0.0.1"
        site = web.TCPSite(self.runner, here, self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Be gone, with every connection."""
        if self.runner is not None:
            runner, self.runner = self.runner, None
            await end_runner(runner)

    async def _health(self, request: web.Request) -> web.Response:
        self.checks += 1
        return web.Response(status=200 if self.is_well else 503)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m"}]})

    async def _fails(self, request: web.Request) -> web.StreamResponse | None:
        self.headers = dict(request.headers)
        self.connections.add(request.transport.get_extra_info("peername") if request.transport else None)
        if self.location:
            return web.Response(status=307, headers={"Location": self.location})
        if request.content_type != "application/json":
            return web.json_response({"detail": "Input should be a valid dictionary"}, status=422)
        self.asked.append(await request.json())
        if self.chance.random() >= self.failing:
            return None
        if self.fault == "close":
            assert request.transport is not None
            request.transport.abort()
        elif self.fault == "truncate":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.json_response(self.error, status=self.status, headers=self.says)

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        if (failed := await self._fails(request)) is not None:
            return failed
        if request.path == "/v1/rerank":
            documents = self.asked[-1]["documents"]
            scores = [{"index": at, "relevance_score": float(at)} for at in reversed(range(len(documents)))]
            return web.json_response({"results": scores, "usage": {"prompt_tokens": 4}})
        texts = self.asked[-1]["input"]
        data = [{"index": at, "embedding": [3.0, 4.0 * (at + 1)]} for at in reversed(range(len(texts)))]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 5}})

    async def _tokenize(self, request: web.Request) -> web.Response:
        self.asked.append(body := await request.json())
        text, special = body.get("content", ""), body.get("add_special")
        if self.tokens == "vllm":
            text, special = body.get("prompt", ""), body.get("add_special_tokens")
            text += "".join(one["content"] for one in body.get("messages", ()))
        tokens = [1] * bool(special) + list(text.encode())
        return web.json_response({"tokens": tokens, "count": len(tokens)})

    async def _detokenize(self, request: web.Request) -> web.Response:
        text = bytes((await request.json())["tokens"]).decode()
        return web.json_response({"prompt" if self.tokens == "vllm" else "content": text})

    async def _template(self, request: web.Request) -> web.Response:
        self.asked.append(body := await request.json())
        return web.json_response({"prompt": "".join(f"<{one['role']}>{one['content']}" for one in body["messages"])})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.13.0"})

    async def _rendered(self, request: web.Request) -> web.Response:
        """The prompt alone, in the form of Ollama's `_debug_render_only`."""
        self.asked.append(body := await request.json())
        turns = body.get("messages") or [{"role": "user", "content": body["prompt"], "images": body.get("images")}]
        told: dict[str, Any] = {"rendered_template": "".join(f"<{one['role']}>{one['content']}" for one in turns)}
        if images := sum(len(one.get("images") or ()) for one in turns):
            told["image_count"] = images
        answer = {"message": {"role": "", "content": ""}} if "messages" in body else {"response": ""}
        reply = {"model": body["model"], "created_at": "2026-06-02T12:30:00Z", **answer, "done": False}
        return web.json_response({**reply, **({"_debug_info": told} if body.get("_debug_render_only") else {})})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.dropped += 1
            raise
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (failed := await self._fails(request)) is not None:
            return failed
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(self.events):
            if number == self.breaks_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await asyncio.sleep(self.pause_s)
            if number and self.gate is not None:
                await self.gate.wait()
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def text_events(*words: str, reason: str = "stop", usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What a server streams that says these words."""
    said = [{"choices": [{"delta": {"content": word}}]} for word in words]
    end = {"choices": [{"delta": {}, "finish_reason": reason}]}
    return [*said, end, {"choices": [], "usage": usage or USAGE}]


class Program:
    """Such a server as a program of its own, that can be killed as one is."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, pause_s: float = 0.03) -> None:
        """Start it, without waiting until it listens; it pauses before every piece of an answer."""
        argv = [sys.executable, "-m", "tests.fakes.upstream", str(self.port), str(pause_s)]
        self._process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL)

    def listens(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


async def _serve(port: int, pause_s: float) -> None:
    await Upstream(port=port, pause_s=pause_s).start()
    await asyncio.Event().wait()


@asynccontextmanager
async def upstreams(count: int, **settings: Any) -> AsyncIterator[list[Upstream]]:
    """Run some, all alike but for when they fail: where all did at once a request would find none."""
    running = [Upstream(**settings, chance=random.Random(number)) for number in range(count)]
    try:
        for one in running:
            await one.start()
        yield running
    finally:
        for one in running:
            await one.stop()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
