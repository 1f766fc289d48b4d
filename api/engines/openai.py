"""The verbs as OpenAI's API has them: asks vLLM, SGLang, llama.cpp's server and whatever else speaks it."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from corral.api.engines.openai_wire import (
    ChatEvent,
    CompletionEvent,
    DetokenizeReply,
    EmbeddingsReply,
    RankingReply,
    Reader,
    TemplateReply,
    TokenizeReply,
)
from corral.api.transport import Transport, error_text
from corral.runtime.errors import BadRequest, RemoteFailed, ServerUnreachable
from corral.runtime.verbs import (
    ChatRequest,
    Chunk,
    Detokenized,
    DetokenizeRequest,
    DoneReason,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    Message,
    Ranking,
    RerankRequest,
    Stats,
    TokenizeRequest,
    Tokens,
    ToolChoice,
    Tools,
)

_SAME = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "top_k", "min_p")
"""Options that are called there what they are here; the last two OpenAI's own servers don't have."""
NO_TEMPLATE = 501
"""The status of what only a server can be asked that tells how it writes a conversation."""
_IMAGES = ((b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"))


class OpenAiClient:
    """Answers chat, generate, embed and rerank on the transport it is given."""

    def __init__(self, server: Transport) -> None:
        self._server = server

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation."""
        if not request.messages:
            return self._no_prompt(request.keep_alive_s)
        body = _conversation(request)
        if request.render_only:
            return self._rendered(body)
        return self._answer("/v1/chat/completions", body, request, ChatEvent)

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt: as a conversation of one message, unless it is raw or has a text to come after it.

        Raises:
            RemoteFailed: of status NO_TEMPLATE where it is to be told what would be sent around a gap.
        """
        if not request.prompt:
            return self._no_prompt(request.keep_alive_s)
        kind: type[ChatEvent] | type[CompletionEvent] = ChatEvent
        path, body = "/v1/chat/completions", dict[str, object]()
        if request.raw or request.suffix:
            kind, path, body = CompletionEvent, "/v1/completions", {"prompt": request.prompt}
            if request.suffix:
                body["suffix"] = request.suffix
        else:
            turns = [Message("system", request.system)] if request.system else []
            turns.append(Message("user", request.prompt, images=request.images))
            body["messages"] = [_message(one) for one in turns]
        if not request.render_only:
            return self._answer(path, body, request, kind)
        if request.suffix:
            raise RemoteFailed("cannot be asked what a model would be sent around a gap", NO_TEMPLATE)
        return self._rendered(None if request.raw else {**body, **_thinking(request)}, request.prompt)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors; each is brought to length 1, which not every server does."""
        if not request.texts:
            return Embeddings()
        body: dict[str, object] = {
            "model": request.model,
            "input": list(request.texts),
            "encoding_format": "float",
        }
        if request.dimensions:
            body["dimensions"] = request.dimensions
        began = time.perf_counter_ns()
        reply = await self._server.call("POST", "/v1/embeddings", EmbeddingsReply, body)
        found = {one.index: one.embedding for one in reply.data}
        if sorted(found) != list(range(len(request.texts))):
            raise RemoteFailed(f"{len(request.texts)} texts were sent, {len(found)} vectors came back", 502)
        vectors = tuple(_of_length_1(found[at]) for at in range(len(found)))
        return Embeddings(vectors, _pooled(reply.usage.prompt_tokens, began), _unsent(request.options))

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents, as vLLM, SGLang and llama.cpp's server do."""
        if not request.documents:
            return Ranking()
        body: dict[str, object] = {
            "model": request.model,
            "query": request.query,
            "documents": list(request.documents),
        }
        began = time.perf_counter_ns()
        reply = await self._server.call("POST", "/v1/rerank", RankingReply, body)
        found = {one.index: one.relevance_score for one in reply.results}
        if sorted(found) != list(range(len(request.documents))):
            raise RemoteFailed(f"{len(request.documents)} documents were sent, {len(found)} scores came back", 502)
        tokens = reply.usage.prompt_tokens or reply.usage.total_tokens
        scores = tuple(found[at] for at in range(len(found)))
        return Ranking(scores, _pooled(tokens, began), _unsent(request.options))

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return tokens, as llama.cpp's server and vLLM cut them: the one is told `content`, the other `prompt`."""
        text, begin = "", True
        if isinstance(request, TokenizeRequest):
            text, begin = request.text, request.begin
        else:
            conversation = _conversation(request)
            try:
                text = await self._render(conversation)
            except RemoteFailed as error:
                if error.status != NO_TEMPLATE:
                    raise
                # vLLM, which applies the template itself; llama.cpp's server would pass over the messages.
                body = {"model": request.model, **conversation}
                reply = await self._server.call("POST", "/tokenize", TokenizeReply, body)
                return Tokens(tuple(reply.tokens))
        asked = {"model": request.model, "content": text, "prompt": text, "parse_special": True}
        asked |= {"add_special": begin, "add_special_tokens": begin}
        return Tokens(tuple((await self._server.call("POST", "/tokenize", TokenizeReply, asked)).tokens))

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return the text of tokens, as llama.cpp's server and vLLM tell it."""
        body: dict[str, object] = {"model": request.model, "tokens": list(request.tokens)}
        reply = await self._server.call("POST", "/detokenize", DetokenizeReply, body)
        return Detokenized(reply.content or reply.prompt)

    async def _render(self, conversation: Mapping[str, object]) -> str:
        """Return a conversation as the model would be sent it, which llama.cpp's server alone tells.

        Raises:
            RemoteFailed: of status NO_TEMPLATE where another server is asked.
        """
        try:
            return (await self._server.call("POST", "/apply-template", TemplateReply, conversation)).prompt
        except RemoteFailed as error:
            if error.status not in (404, 405):
                raise
            raise RemoteFailed("cannot be asked what a model would be sent", NO_TEMPLATE) from None

    async def _rendered(
        self, conversation: Mapping[str, object] | None, prompt: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """Yield what the model would be sent: a conversation as the server writes it, or else the prompt itself."""
        rendered = prompt if conversation is None else await self._render(conversation)
        yield Chunk(done_reason=DoneReason.STOP, rendered=rendered)

    async def _no_prompt(self, keep_alive_s: float | None) -> AsyncGenerator[Chunk, None]:
        """Answer a request to load or to unload: such a server has its model always; at least it must be there."""
        await self._server.send("GET", "/v1/models")
        yield Chunk(done_reason=DoneReason.UNLOAD if keep_alive_s == 0 else DoneReason.LOAD)

    async def _answer(
        self,
        path: str,
        prompt: Mapping[str, object],
        request: ChatRequest | GenerateRequest,
        kind: type[ChatEvent] | type[CompletionEvent],
    ) -> AsyncGenerator[Chunk, None]:
        body = {"model": request.model, **prompt, **_sampling(request, chat=kind is ChatEvent)}
        reader = Reader(time.perf_counter_ns)
        decode = msgspec.json.Decoder(kind).decode
        async with aclosing(self._server.events(path, body)) as events:
            async for data in events:
                try:
                    event = decode(data)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    raise RemoteFailed(error_text(data) or "the server's reply is not understood", 502) from None
                if event.error is not None:
                    raise RemoteFailed(error_text(data), 500)
                for chunk in reader.read(event):
                    yield chunk
        if not reader.finished:
            raise ServerUnreachable("the server went away in the middle of its answer")
        for chunk in reader.end(_unsent(request.options) + _lost(request)):
            yield chunk


def _conversation(request: ChatRequest) -> dict[str, object]:
    return {"messages": [_message(one) for one in request.messages], **_tools(request.tools), **_thinking(request)}


def _message(message: Message) -> dict[str, object]:
    content: object = message.content
    if message.images:
        parts: list[dict[str, object]] = [{"type": "text", "text": message.content}] if message.content else []
        parts += [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
        content = parts
    said: dict[str, object] = {"role": message.role, "content": content}
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id or f"call_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for number, call in enumerate(message.tool_calls)
        ]
    if message.thinking:
        said["reasoning_content"] = message.thinking
    if message.role == "tool":
        said["tool_call_id"] = message.tool_call_id or "call_0"
        if message.tool_name:
            said["name"] = message.tool_name
    return said


def _data_url(image: bytes) -> str:
    kind = next((kind for magic, kind in _IMAGES if image.startswith(magic)), "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _tools(tools: Tools) -> dict[str, object]:
    if not tools.functions:
        return {}
    body: dict[str, object] = {"tools": [dict(one) for one in tools.functions]}
    if tools.only:
        body["tool_choice"] = {"type": "function", "function": {"name": tools.only}}
    elif tools.choice is not ToolChoice.AUTO:
        body["tool_choice"] = str(tools.choice)
    return body if tools.parallel else body | {"parallel_tool_calls": False}


def _sampling(request: ChatRequest | GenerateRequest, *, chat: bool) -> dict[str, Any]:
    options = request.options
    body: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    body |= {name: options[name] for name in _SAME if options.get(name) is not None}
    limit = options.get("num_predict")
    if isinstance(limit, int) and limit > 0:
        body["max_tokens"] = limit
    if (penalty := options.get("repeat_penalty")) is not None:
        body |= {"repeat_penalty": penalty, "repetition_penalty": penalty}  # llama.cpp's word and vLLM's
    if request.format == "json":
        body["response_format"] = {"type": "json_object"}
    elif isinstance(request.format, Mapping):
        schema = {"name": "answer", "schema": dict(request.format), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.format:
        raise BadRequest(f"format {request.format!r} is not known to the server that runs this model")
    if request.logprobs and chat:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    elif request.logprobs:
        body["logprobs"] = request.top_logprobs
    return body | (_thinking(request) if chat else {})


def _thinking(request: ChatRequest | GenerateRequest) -> dict[str, object]:
    if isinstance(request.think, bool):
        return {"chat_template_kwargs": {"enable_thinking": request.think}}
    return {"reasoning_effort": request.think} if request.think else {}


_SENT = frozenset((*_SAME, "num_predict", "repeat_penalty"))


def _unsent(options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(
        f"option {name!r} means nothing to the server that runs this model, and was not sent"
        for name, value in options.items()
        if value is not None and name not in _SENT
    )


def _lost(request: ChatRequest | GenerateRequest) -> tuple[str, ...]:
    """What else of a request such a server is not told."""
    if isinstance(request, ChatRequest):
        return ()
    lost = {"template": not request.raw and bool(request.template), "context": bool(request.context)}
    return tuple(f"'{name}' means nothing to the server that runs this model" for name, had in lost.items() if had)


def _of_length_1(vector: Sequence[float]) -> tuple[float, ...]:
    length = math.sqrt(sum(value * value for value in vector))
    return tuple(value / length for value in vector) if length else tuple(vector)


def _pooled(tokens: int, began_ns: int) -> Stats:
    took_ns = time.perf_counter_ns() - began_ns
    return Stats(total_ns=took_ns, prompt_tokens=tokens, prompt_ns=took_ns)
