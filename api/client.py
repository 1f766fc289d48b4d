"""The verbs over HTTP: speaks to another Corral, or to Ollama itself.

Belongs to the loop it is first used on. Imports neither httpx nor the HTTP server until a verb is called.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from corral.api import wire
from corral.api.transport import Transport
from corral.api.upkeep_client import HttpUpkeep
from corral.runtime.errors import NotSupported, RemoteFailed, ServerUnreachable
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    CreateRequest,
    Detokenized,
    DetokenizeRequest,
    DoneReason,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    LoadedModel,
    Message,
    ModelDetails,
    ModelSummary,
    Progress,
    Ranking,
    RerankRequest,
    TokenizeRequest,
    Tokens,
    ToolChoice,
    Tools,
)
from corral.store.names import Digest, ModelName, without_local

if TYPE_CHECKING:
    from corral.api.snapshot_wire import SnapshotReader
    from corral.runtime.recordings import Recorded
    from corral.runtime.settings_change import SettingsChange
    from corral.runtime.snapshot import Snapshot

_AnyRequest = ChatRequest | GenerateRequest | EmbedRequest | RerankRequest | TokenizeRequest | DetokenizeRequest


class HttpClient(HttpUpkeep):
    """Implements `verbs.Client`. `close` ends its connections."""

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        trusted: Path | None = None,
        headers: Mapping[str, str] | None = None,
        server: Transport | None = None,
    ) -> None:
        """`trusted` is a file of certificates by which the server is known; `headers` go with every request.

        Whoever has a way to the server already gives it as `server`.
        """
        self._server = server or Transport(base_url, api_key, trusted, headers)
        self._tells_snapshots = True

    @cached_property
    def _reader(self) -> SnapshotReader:
        # Its many types take a tenth of the time of a command that asks one thing and looks at no snapshot.
        from corral.api.snapshot_wire import SnapshotReader

        return SnapshotReader()

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self._server.base_url

    def latest(self) -> Snapshot:
        """Return what `refresh` got last; empty before that."""
        return self._reader.snapshot

    async def refresh(self) -> Snapshot:
        """Ask for the newest snapshot. Of an Ollama server it has the models in memory only.

        Raises:
            ServerUnreachable, RemoteFailed: the server does not answer, or not as it should.
        """
        from corral.api.snapshot_wire import PACKED, SnapshotWire, from_loaded

        if self._tells_snapshots:
            try:
                path = f"/api/snapshot{self._reader.query()}"
                return self._reader.take(await self._server.packed(path, SnapshotWire, PACKED))
            except RemoteFailed as error:
                if error.status not in (404, 405):
                    raise
                self._tells_snapshots = False
        self._reader.snapshot = from_loaded(
            await self.loaded(), serving=self.base_url, at_s=time.monotonic(), wall_s=time.time()
        )
        return self._reader.snapshot

    async def version(self) -> str:
        """Return the version the server reports."""
        return (await self._server.call("GET", "/api/version", wire.VersionWire)).version

    async def list_models(self) -> Sequence[ModelSummary]:
        """Return the models on the server's disk, newest first."""
        reply = await self._server.call("GET", "/api/tags", wire.TagsWire)
        return tuple(model.to_summary() for model in reply.models or ())

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        """Return all there is to know about a model."""
        body: dict[str, object] = {"model": model, "verbose": verbose}
        reply = await self._server.call("POST", "/api/show", wire.ShowWire, body, model=model)
        return reply.to_details(ModelName.parse(without_local(model)).short)

    async def loaded(self) -> Sequence[LoadedModel]:
        """Return the models in the server's memory."""
        reply = await self._server.call("GET", "/api/ps", wire.PsWire)
        now = datetime.now().astimezone()
        return tuple(model.to_loaded(now) for model in reply.models or ())

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation."""
        body: dict[str, object] = {
            "model": request.model,
            "messages": [_message(one) for one in request.messages],
            **_tools(request.tools),
            **_sampling(request),
        }
        ask = self._rendered if request.render_only else self._answer
        return ask("/api/chat", body, request.model)

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt."""
        body: dict[str, object] = {"model": request.model, "prompt": request.prompt, **_sampling(request)}
        if request.system is not None:
            body["system"] = request.system
        if request.template is not None:
            body["template"] = request.template
        if request.raw:
            body["raw"] = True
        if request.suffix:
            body["suffix"] = request.suffix
        if request.context:
            body["context"] = list(request.context)
        if request.images:
            body["images"] = _images(request.images)
        ask = self._rendered if request.render_only else self._answer
        return ask("/api/generate", body, request.model)

    async def _rendered(self, path: str, body: Mapping[str, object], model: str) -> AsyncGenerator[Chunk, None]:
        """Yield what the model would be sent; nothing is computed."""
        asked = {**body, "_debug_render_only": True, "stream": False}
        found = (await self._server.call("POST", path, wire.RenderedWire, asked, model=model)).debug_info
        if found is None:
            raise RemoteFailed("the server does not say what a model would be sent", 501)
        yield Chunk(done_reason=DoneReason.STOP, rendered=found.rendered_template, images=found.image_count)

    async def _answer(self, path: str, body: Mapping[str, object], model: str) -> AsyncGenerator[Chunk, None]:
        done = False
        async with aclosing(self._server.lines(path, wire.AnswerLine, body, model=model)) as lines:
            async for line in lines:
                done = done or line.done
                yield line.to_chunk()
        if not done:
            raise ServerUnreachable("the server went away in the middle of its answer")

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors."""
        body: dict[str, object] = {"model": request.model, "input": list(request.texts), **_how(request)}
        if request.dimensions:
            body["dimensions"] = request.dimensions
        reply = await self._server.call("POST", "/api/embed", wire.EmbedWire, body, model=request.model)
        return reply.to_embeddings()

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents against a query."""
        body: dict[str, object] = {
            "model": request.model,
            "query": request.query,
            "documents": list(request.documents),
            **_how(request),
        }
        reply = await self._server.call("POST", "/api/rerank", wire.RerankWire, body, model=request.model)
        return reply.to_ranking()

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return the tokens of a text or of a conversation."""
        body: dict[str, object] = {"model": request.model}
        if isinstance(request, ChatRequest):
            messages = [_message(one) for one in request.messages]
            body |= {"messages": messages, **_tools(request.tools), **_sampling(request)}
        else:
            body |= {"content": request.text, "add_special": request.begin, **_load(request)}
        reply = await self._server.call("POST", "/api/tokenize", wire.TokenizeWire, body, model=request.model)
        return reply.to_tokens()

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return the text of tokens."""
        body: dict[str, object] = {"model": request.model, "tokens": list(request.tokens), **_load(request)}
        reply = await self._server.call("POST", "/api/detokenize", wire.DetokenizeWire, body, model=request.model)
        return reply.to_detokenized()

    async def unload(self, model: str) -> None:
        """Take a model out of memory once its requests are done."""
        body: dict[str, object] = {"model": model, "keep_alive": 0, "stream": False}
        await self._server.call("POST", "/api/generate", wire.AnswerLine, body, model=model)

    async def pull(
        self, model: str, *, insecure: bool = False, limit_rate: int = 0, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Let the server fetch a model."""
        body: dict[str, object] = {"model": model}
        if insecure:
            body["insecure"] = True
        if limit_rate:
            body["limit_rate"] = limit_rate
        async with aclosing(self._job("/api/pull", body, model)) as steps:
            async for step in steps:
                yield step

    async def push(
        self, model: str, *, insecure: bool = False, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Let the server send a model to its registry."""
        body: dict[str, object] = {"model": model, "insecure": True} if insecure else {"model": model}
        async with aclosing(self._job("/api/push", body, model)) as steps:
            async for step in steps:
                yield step

    async def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """Let the server make a model; `files` are blobs it has already."""
        body: dict[str, object] = {
            "model": request.model,
            "from": request.base,
            "files": dict(request.files),
            "draft_files": dict(request.draft_files),
            "template": request.template,
            "system": request.system,
            "license": list(request.licenses),
            "parameters": dict(request.parameters),
            "messages": [_message(one) for one in request.messages],
            "adapters": dict(request.adapters),
            "quantize": request.quantize,
            "draft_quantize": request.draft_quantize,
            "imatrix": dict(request.imatrix),
            "renderer": request.renderer,
            "parser": request.parser,
            "requires": request.requires,
            "remote_host": request.remote_host,
            "info": dict(request.info),
        }
        # An empty template or system message takes the base's away.
        kept = ("template", "system")
        given = {name: value for name, value in body.items() if value or (name in kept and value is not None)}
        async with aclosing(self._job("/api/create", given, request.model)) as steps:
            async for step in steps:
                yield step

    async def _job(self, path: str, body: Mapping[str, object], model: str) -> AsyncGenerator[Progress, None]:
        last = ""
        async with aclosing(self._server.lines(path, wire.ProgressLine, body, model=model)) as lines:
            async for line in lines:
                last = line.status
                yield line.to_progress()
        if last != "success":
            raise ServerUnreachable("the server went away before the job was done")

    async def copy(self, source: str, destination: str) -> None:
        """Give a model a second name."""
        await self._server.send("POST", "/api/copy", {"source": source, "destination": destination}, model=source)

    async def delete(self, model: str) -> None:
        """Remove a model and what only it uses."""
        await self._server.send("DELETE", "/api/delete", {"model": model}, model=model)

    async def has_blob(self, digest: str) -> bool:
        """Say whether the server's store holds these bytes."""
        path = f"/api/blobs/{Digest.parse(digest)}"
        return await self._server.send("HEAD", path, expected=(200, 404)) == 200

    async def put_blob(self, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """Send bytes to be stored under their digest; True if they were not there before."""
        return await self._server.send("POST", f"/api/blobs/{Digest.parse(digest)}", chunks) == 201

    async def cancel(self, request_id: str) -> bool:
        """Stop a request of any client; False if there is none of that id, or the server knows no such route."""
        path = f"/api/requests/{quote(request_id, safe='')}"
        return await self._server.send("DELETE", path, expected=(200, 404, 405)) == 200

    async def reload_settings(self) -> SettingsChange:
        """Have the server read its settings again; see `api.served.ServedClient`."""
        from corral.runtime.settings_change import SettingsChange

        change = await self._server.call("POST", "/api/config/reload", wire.SettingsChangeWire)
        return SettingsChange(change.changed, change.restart, change.warnings)

    async def record(self, *, on: bool) -> None:
        """Say that a server elsewhere keeps nothing for a screen. Raises NotSupported."""
        if on:
            raise NotSupported("only the workbench that serves keeps what requests say")

    async def recorded(self, request_id: str) -> Recorded | None:
        """Return None: a server tells nothing of other requests' texts."""
        return None


def _message(message: Message) -> dict[str, object]:
    calls = [
        {"id": call.id, "function": {"index": number, "name": call.name, "arguments": dict(call.arguments)}}
        for number, call in enumerate(message.tool_calls)
    ]
    more: dict[str, object] = {
        "thinking": message.thinking,
        "images": _images(message.images),
        "tool_calls": calls,
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
    }
    return {"role": message.role, "content": message.content} | {name: value for name, value in more.items() if value}


def _images(images: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(image).decode() for image in images]


def _tools(tools: Tools) -> dict[str, object]:
    """What may be called; `tool_choice` is Corral's own field, which Ollama passes over."""
    if not tools.functions and tools.choice is ToolChoice.AUTO and not tools.only:
        return {}
    only = {"type": "function", "function": {"name": tools.only}}
    body: dict[str, object] = {"tools": [dict(one) for one in tools.functions]}
    if tools.only or tools.choice is not ToolChoice.AUTO:
        body["tool_choice"] = only if tools.only else str(tools.choice)
    return body if tools.parallel else body | {"parallel_tool_calls": False}


def _keep_alive(seconds: float) -> float:
    return -1 if math.isinf(seconds) else seconds


def _how(request: ChatRequest | GenerateRequest | EmbedRequest | RerankRequest) -> dict[str, Any]:
    return _load(request) | ({} if request.truncate else {"truncate": False})


def _load(request: _AnyRequest) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.options:
        body["options"] = dict(request.options)
    if request.keep_alive_s is not None:
        body["keep_alive"] = _keep_alive(request.keep_alive_s)
    return body


def _sampling(request: ChatRequest | GenerateRequest) -> dict[str, Any]:
    body = _how(request)
    if request.shift is not None:
        body["shift"] = request.shift
    if request.format:
        body["format"] = request.format
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.progress:
        body["prompt_eval_progress"] = True
    if request.think is not None:
        body["think"] = request.think
    return body
