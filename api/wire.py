"""What a server of Ollama's API sends, as types, and their way back to the verbs' replies.

Tolerant of older servers: every field has a default, unknown ones are ignored.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from corral.runtime.snapshot import EngineHost
from corral.runtime.verbs import (
    Chunk,
    Details,
    Detokenized,
    DoneReason,
    Embeddings,
    LoadedModel,
    LoadProgress,
    Logprob,
    Message,
    ModelDetails,
    ModelSummary,
    Progress,
    PromptProgress,
    Ranking,
    Stats,
    TensorInfo,
    Tokens,
    ToolCall,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = timedelta(days=100 * 365)


class DetailsWire(msgspec.Struct, frozen=True):
    """The short description of a model."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: list[str] | None = None
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int = 0
    embedding_length: int = 0

    def to_details(self) -> Details:
        """Return the verbs' type."""
        return Details(
            parent_model=self.parent_model,
            format=self.format,
            family=self.family,
            families=tuple(self.families or ()),
            parameter_size=self.parameter_size,
            quantization_level=self.quantization_level,
            context_length=self.context_length,
            embedding_length=self.embedding_length,
        )


class TagWire(msgspec.Struct, frozen=True):
    """A model on disk."""

    name: str
    digest: str = ""
    size: int = 0
    modified_at: datetime = _EPOCH
    details: DetailsWire = DetailsWire()
    capabilities: list[str] | None = None
    remote_host: str = ""
    remote_model: str = ""

    def to_summary(self) -> ModelSummary:
        """Return the verbs' type."""
        return ModelSummary(
            name=self.name,
            digest=self.digest,
            size=self.size,
            modified_at=self.modified_at,
            details=self.details.to_details(),
            capabilities=tuple(self.capabilities or ()),
            remote_host=self.remote_host,
            remote_model=self.remote_model,
        )


class TagsWire(msgspec.Struct, frozen=True):
    """The reply of `/api/tags`."""

    models: list[TagWire] | None = None


class HostWire(msgspec.Struct, frozen=True):
    """A server that runs a model for another."""

    host: str = ""
    reason: str = ""
    requests: int = 0


class LoadedWire(msgspec.Struct, frozen=True):
    """A model in memory."""

    name: str
    digest: str = ""
    size: int = 0
    size_vram: int = 0
    details: DetailsWire = DetailsWire()
    context_length: int = 0
    expires_at: datetime | None = None
    remote_host: str = ""
    remote_model: str = ""
    requests: int = 0
    hosts: list[HostWire] | None = None

    def to_loaded(self, now: datetime) -> LoadedModel:
        """Return the verbs' type; a date centuries ahead is for ever."""
        expires_at = self.expires_at
        if expires_at is not None and expires_at - now > _FOREVER:
            expires_at = None
        return LoadedModel(
            name=self.name,
            digest=self.digest,
            size=self.size,
            size_vram=self.size_vram,
            details=self.details.to_details(),
            context_length=self.context_length,
            expires_at=expires_at,
            remote_host=self.remote_host,
            remote_model=self.remote_model,
            requests=self.requests,
            hosts=tuple(EngineHost(one.host, one.reason, one.requests) for one in self.hosts or ()),
        )


class PsWire(msgspec.Struct, frozen=True):
    """The reply of `/api/ps`."""

    models: list[LoadedWire] | None = None


class FunctionWire(msgspec.Struct, frozen=True):
    """The function of a tool call."""

    name: str = ""
    arguments: dict[str, Any] = {}


class CallWire(msgspec.Struct, frozen=True):
    """A tool call."""

    id: str = ""
    function: FunctionWire = FunctionWire()

    def to_call(self) -> ToolCall:
        """Return the verbs' type."""
        return ToolCall(self.function.name, self.function.arguments, self.id)


class MessageWire(msgspec.Struct, frozen=True):
    """A message of a conversation."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    tool_calls: list[CallWire] | None = None


class TensorWire(msgspec.Struct, frozen=True):
    """A tensor of a model."""

    name: str = ""
    type: str = ""
    shape: list[int] | None = None


class ShowWire(msgspec.Struct, frozen=True):
    """The reply of `/api/show`."""

    license: str = ""
    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: DetailsWire = DetailsWire()
    messages: list[MessageWire] | None = None
    model_info: dict[str, Any] | None = None
    tensors: list[TensorWire] | None = None
    capabilities: list[str] | None = None
    modified_at: datetime = _EPOCH
    requires: str = ""
    projector_info: dict[str, Any] | None = None
    renderer: str = ""
    parser: str = ""
    remote_host: str = ""
    remote_model: str = ""

    def to_details(self, name: str) -> ModelDetails:
        """Return the verbs' type."""
        return ModelDetails(
            name=name,
            modified_at=self.modified_at,
            details=self.details.to_details(),
            modelfile=self.modelfile,
            parameters=tuple(_parameters(self.parameters)),
            template=self.template,
            system=self.system,
            license=self.license,
            messages=tuple(Message(one.role, one.content, one.thinking) for one in self.messages or ()),
            model_info=self.model_info or {},
            tensors=tuple(TensorInfo(one.name, one.type, tuple(one.shape or ())) for one in self.tensors or ()),
            capabilities=tuple(self.capabilities or ()),
            requires=self.requires,
            projector_info=self.projector_info or {},
            renderer=self.renderer,
            parser=self.parser,
            remote_host=self.remote_host,
            remote_model=self.remote_model,
        )


def _bytes(numbers: list[int]) -> bytes:
    return bytes(one & 0xFF for one in numbers)


def _parameters(text: str) -> list[tuple[str, str]]:
    """Read `name value` lines; a value in quotes is Go's notation of a string."""
    pairs = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        if name:
            pairs.append((name, value))
    return pairs


class LogprobWire(msgspec.Struct, frozen=True):
    """How likely a token was."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[LogprobWire] | None = None

    def to_logprob(self) -> Logprob:
        """Return the verbs' type; a server that tells no bytes means those of the text."""
        data = self.token.encode() if self.bytes is None else _bytes(self.bytes)
        return Logprob(self.token, self.logprob, data, tuple(one.to_logprob() for one in self.top_logprobs or ()))


class PromptProgressWire(msgspec.Struct, frozen=True):
    """How far a prompt is."""

    cached: int = 0
    completed: int = 0
    total: int = 0


class AnswerLine(msgspec.Struct, frozen=True):
    """A line of `/api/generate` or `/api/chat`."""

    error: str = ""
    response: str = ""
    thinking: str = ""
    message: MessageWire = MessageWire()
    done: bool = False
    done_reason: str = ""
    context: list[int] | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    draft_count: int = 0
    draft_accepted_count: int = 0
    thinking_count: int = 0
    warnings: list[str] | None = None
    logprobs: list[LogprobWire] | None = None
    load_progress: float | None = None
    prompt_eval_progress: PromptProgressWire | None = None

    def to_chunk(self) -> Chunk:
        """Return the verbs' type; a reason we don't know is a plain stop."""
        text = self.response or self.message.content
        thinking = self.thinking or self.message.thinking
        # Most lines are a word of text, and there are thousands of them: what they don't have is not made.
        logprobs = tuple(one.to_logprob() for one in self.logprobs) if self.logprobs else ()
        calls = tuple(one.to_call() for one in self.message.tool_calls) if self.message.tool_calls else ()
        if self.load_progress is not None:
            return Chunk(progress=LoadProgress(self.load_progress))
        if (told := self.prompt_eval_progress) is not None:
            return Chunk(progress=PromptProgress(told.completed, told.total, told.cached))
        if not self.done:
            return Chunk(text=text, logprobs=logprobs, thinking=thinking, tool_calls=calls)
        known = self.done_reason in set(DoneReason)
        return Chunk(
            text=text,
            done_reason=DoneReason(self.done_reason) if known else DoneReason.STOP,
            stats=Stats(
                total_ns=self.total_duration,
                load_ns=self.load_duration,
                prompt_tokens=self.prompt_eval_count,
                cached_tokens=self.prompt_eval_cached_count,
                prompt_ns=self.prompt_eval_duration,
                output_tokens=self.eval_count,
                output_ns=self.eval_duration,
                drafted=self.draft_count,
                accepted=self.draft_accepted_count,
                thinking_tokens=self.thinking_count,
            ),
            context=tuple(self.context or ()),
            warnings=tuple(self.warnings or ()),
            logprobs=logprobs,
            thinking=thinking,
            tool_calls=calls,
        )


class RenderedText(msgspec.Struct, frozen=True):
    """A prompt as a model would be sent it."""

    rendered_template: str = ""
    image_count: int = 0


class RenderedWire(msgspec.Struct, frozen=True):
    """The reply to a request with `_debug_render_only`."""

    debug_info: RenderedText | None = msgspec.field(name="_debug_info", default=None)


class EmbedWire(msgspec.Struct, frozen=True):
    """The reply of `/api/embed`."""

    embeddings: list[tuple[float, ...]] | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    warnings: list[str] | None = None

    def to_embeddings(self) -> Embeddings:
        """Return the verbs' type."""
        stats = Stats(total_ns=self.total_duration, load_ns=self.load_duration, prompt_tokens=self.prompt_eval_count)
        return Embeddings(tuple(self.embeddings or ()), stats, tuple(self.warnings or ()))


class RankWire(msgspec.Struct, frozen=True):
    """One of the results of `/api/rerank`."""

    index: int
    relevance_score: float


class RerankWire(msgspec.Struct, frozen=True):
    """The reply of `/api/rerank`."""

    results: list[RankWire] | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    warnings: list[str] | None = None

    def to_ranking(self) -> Ranking:
        """Return the verbs' type."""
        stats = Stats(total_ns=self.total_duration, load_ns=self.load_duration, prompt_tokens=self.prompt_eval_count)
        in_order = sorted(self.results or (), key=lambda one: one.index)
        return Ranking(tuple(one.relevance_score for one in in_order), stats, tuple(self.warnings or ()))


class TokenizeWire(msgspec.Struct, frozen=True):
    """The reply of `/api/tokenize`."""

    tokens: list[int] = []
    total_duration: int = 0
    load_duration: int = 0

    def to_tokens(self) -> Tokens:
        """Return the verbs' type."""
        return Tokens(tuple(self.tokens), self.total_duration, self.load_duration)


class DetokenizeWire(msgspec.Struct, frozen=True):
    """The reply of `/api/detokenize`."""

    content: str = ""
    total_duration: int = 0
    load_duration: int = 0

    def to_detokenized(self) -> Detokenized:
        """Return the verbs' type."""
        return Detokenized(self.content, self.total_duration, self.load_duration)


class ProgressLine(msgspec.Struct, frozen=True):
    """A line of `/api/pull` or `/api/create`."""

    error: str = ""
    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0

    def to_progress(self) -> Progress:
        """Return the verbs' type."""
        return Progress(self.status, self.digest, self.total, self.completed)


class SettingsChangeWire(msgspec.Struct, frozen=True):
    """The reply of `/api/config/reload`."""

    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class VersionWire(msgspec.Struct, frozen=True):
    """The reply of `/api/version`."""

    version: str = ""
