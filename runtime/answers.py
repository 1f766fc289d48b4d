"""From a request to its answer: find the model, hold it, submit the prompt, hand out what comes, keep the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from corral.runtime.engine import protocol
from corral.runtime.errors import BadRequest, NotSupported, RequestCanceled, RunError
from corral.runtime.formats import grammar_for
from corral.runtime.library import Library, ModelOnDisk
from corral.runtime.memory import cache_bytes_per_token, choose_cells
from corral.runtime.options import OPTIONS, Options, parse_options, unknown_names
from corral.runtime.requests import RequestLog
from corral.runtime.runner import Output, Runner, RunnerStream
from corral.runtime.scheduler import Scheduler, Wanted
from corral.runtime.settings import Settings
from corral.runtime.snapshot import RequestState
from corral.runtime.vectors import unpack
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    DoneReason,
    Embeddings,
    EmbedRequest,
    GenerateRequest,
    Logprob,
    Message,
    Stats,
)
from corral.store.errors import StoreError

T = TypeVar("T")

DEFAULT_CONTEXT = 4096
MOST_TEXTS = 256
"""Texts in one message to a runner."""
SMALLEST_CONTEXT = 4
_NOT_SHIFTED = frozenset({"deepseek2"})
"""Architectures whose answers end where the context is full, unless a request says otherwise (spec a.7)."""
MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class _Job:
    """A request made ready for a runner."""

    caller: Caller
    model: ModelOnDisk
    options: Options
    given: Mapping[str, object]
    prompt: protocol.RawPrompt | protocol.ChatPrompt | None
    keep_alive_s: float
    prefix: tuple[int, ...] = ()
    want_context: bool = False
    truncate: bool = True
    shift: bool = True
    warnings: tuple[str, ...] = ()
    grammar: protocol.Grammar | None = None
    logprobs: int | None = None


class _Cancellation:
    """Lets somebody else stop a request, wherever it waits."""

    def __init__(self) -> None:
        self._asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stream: RunnerStream | None = None

    def cancel(self) -> None:
        if not self._asked.done():
            self._asked.set_result(None)
        if self.stream is not None:
            self.stream.fail(RequestCanceled())

    async def guard(self, awaitable: Awaitable[T]) -> T:
        """Await something unless the request is stopped first."""
        work = asyncio.ensure_future(awaitable)
        either: set[asyncio.Future[Any]] = {work, self._asked}
        try:
            await asyncio.wait(either, return_when="FIRST_COMPLETED")
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if self._asked.done() or work.cancelled():
            raise RequestCanceled
        return work.result()


class Answers:
    """Answers chat and generate. Owned by the service loop; `new_id` makes ids for callers that bring none."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        scheduler: Scheduler,
        requests: RequestLog,
        *,
        clock: Callable[[], float],
        free_memory: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._library = library
        self._scheduler = scheduler
        self._requests = requests
        self._clock = clock
        self._free_memory = free_memory
        self._new_id = new_id

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Answer a chat; see `verbs.Client.chat`."""
        caller = request.caller or Caller(self._new_id(), "local", "", "chat")
        async with AsyncExitStack() as row:
            row.enter_context(_Row(self._requests, caller, request.model))
            model = await self._library.open(request.model)
            prompt = None
            if request.messages:
                turns = [*model.history, *request.messages]
                if request.messages[0].role != "system" and model.system:
                    turns.insert(0, Message("system", model.system))
                prompt = _chat_prompt(turns, model.template)
            job = self._job(caller, model, request, prompt, "chat")
            async for chunk in self._answer(job):
                yield chunk

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Answer a prompt; see `verbs.Client.generate`."""
        caller = request.caller or Caller(self._new_id(), "local", "", "generate")
        async with AsyncExitStack() as row:
            row.enter_context(_Row(self._requests, caller, request.model))
            model = await self._library.open(request.model)
            prompt: protocol.RawPrompt | protocol.ChatPrompt | None = None
            if request.prompt and request.raw:
                prompt = protocol.RawPrompt(request.prompt)
            elif request.prompt:
                system = model.system if request.system is None else request.system
                turns = [Message("system", system)] if system else []
                turns += [] if request.context else model.history
                template = model.template if request.template is None else request.template
                prompt = _chat_prompt([*turns, Message("user", request.prompt)], template)
            job = self._job(caller, model, request, prompt, "generate")
            async for chunk in self._answer(job):
                yield chunk

    def _job(
        self,
        caller: Caller,
        model: ModelOnDisk,
        request: ChatRequest | GenerateRequest,
        prompt: protocol.RawPrompt | protocol.ChatPrompt | None,
        verb: str,
    ) -> _Job:
        if "completion" not in model.capabilities:
            raise NotSupported(f'"{request.model}" does not support {verb}')
        if not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
            raise BadRequest(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
        generate = request if isinstance(request, GenerateRequest) else None
        options = parse_options(model.parameters, request.options)
        return _Job(
            caller=caller,
            model=model,
            options=options,
            given={**model.parameters, **request.options},
            prompt=prompt,
            keep_alive_s=self._settings.keep_alive_s if request.keep_alive_s is None else request.keep_alive_s,
            prefix=generate.context if generate and not generate.raw else (),
            want_context=generate is not None and not generate.raw,
            truncate=request.truncate,
            shift=request.shift if request.shift is not None else model.header.architecture not in _NOT_SHIFTED,
            warnings=_ignored(request.options),
            logprobs=request.top_logprobs if request.logprobs else None,
            grammar=grammar_for(request.format, request.options, options.grammar, options.regex),
        )

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors; see `verbs.Client.embed`."""
        caller = request.caller or Caller(self._new_id(), "local", "", "embed")
        with _Row(self._requests, caller, request.model):
            model = await self._library.open(request.model)
            keep_alive_s = self._settings.keep_alive_s if request.keep_alive_s is None else request.keep_alive_s
            options = parse_options(model.parameters, request.options)
            job = _Job(caller, model, options, {**model.parameters, **request.options}, None, keep_alive_s)
            began = self._clock()
            cancellation = _Cancellation()
            self._requests.begin(caller, model.shown, cancellation.cancel)
            self._requests.update(caller.request_id, state=RequestState.WAITING)
            wanted = self._wanted(job)
            async with AsyncExitStack() as stack:
                lease = await cancellation.guard(stack.enter_async_context(self._scheduler.lease(wanted, keep_alive_s)))
                self._requests.update(caller.request_id, state=RequestState.PREFILL)
                parts = await cancellation.guard(_embed(lease.runner, request, wanted.load.num_ctx))
            stats = Stats(
                total_ns=int((self._clock() - began) * 1e9),
                load_ns=lease.load_ns,
                prompt_tokens=sum(part.prompt_tokens for part in parts),
                prompt_ns=sum(part.prompt_ns for part in parts),
            )
            tokens = stats.prompt_tokens
            self._requests.update(caller.request_id, prompt_tokens=tokens, prompt_done=tokens)
        vectors = tuple(unpack(vector, request.dimensions) for part in parts for vector in part.vectors)
        return Embeddings(vectors, stats, _embed_warnings(request, sum(part.cut for part in parts)))

    async def _answer(self, job: _Job) -> AsyncGenerator[Chunk, None]:
        if job.prompt is None and job.keep_alive_s == 0:
            await self._scheduler.unload(job.model.weights.hex)
            yield Chunk(done_reason=DoneReason.UNLOAD)
            return
        began = self._clock()
        wanted = self._wanted(job)
        cancellation = _Cancellation()
        row = job.caller.request_id
        self._requests.begin(job.caller, job.model.shown, cancellation.cancel)
        resident = self._scheduler.find(wanted.digest)
        loads = resident is None or not resident.ready.done()
        self._requests.update(row, state=RequestState.LOADING if loads else RequestState.WAITING)
        async with AsyncExitStack() as stack:
            lease = await cancellation.guard(stack.enter_async_context(self._scheduler.lease(wanted, job.keep_alive_s)))
            if job.prompt is None:
                total_ns = int((self._clock() - began) * 1e9)
                yield Chunk(done_reason=DoneReason.LOAD, stats=Stats(total_ns=total_ns, load_ns=lease.load_ns))
                return
            stream = lease.runner.submit(_submission(job, wanted, lease.runner))
            stack.callback(lease.runner.release, stream)
            cancellation.stream = stream
            self._requests.update(row, state=RequestState.WAITING)
            warnings = job.warnings + _load_warnings(job, lease.runner)
            tokens, first = 0, None
            while True:
                output = await stream.take()
                warnings += _cut(output)
                if output.tokens and first is None:
                    first = self._clock()
                tokens += output.tokens
                self._follow(row, output, tokens, first)
                if output.text or output.logprobs:
                    yield Chunk(text=output.text, logprobs=tuple(map(_logprob, output.logprobs)))
                if output.finished is not None:
                    total_ns = int((self._clock() - began) * 1e9)
                    yield _last(output.finished, total_ns, lease.load_ns, warnings)
                    return

    def _wanted(self, job: _Job) -> Wanted:
        """How the model is to be loaded for this request."""
        options, settings, header = job.options, self._settings, job.model.header
        num_ctx = options.num_ctx or settings.context_length or DEFAULT_CONTEXT
        if header.context_length:
            num_ctx = min(num_ctx, header.context_length)
        num_ctx = max(num_ctx, SMALLEST_CONTEXT)
        per_token = cache_bytes_per_token(header.metadata, settings.kv_cache_type)
        load = protocol.Load(
            path=str(job.model.path),
            num_ctx=num_ctx,
            num_cells=choose_cells(num_ctx, settings.num_parallel, per_token, self._free_memory()),
            num_sequences=settings.num_parallel,
            num_batch=options.num_batch,
            num_threads=options.num_thread,
            gpu_layers=options.num_gpu,
            main_gpu=options.main_gpu,
            use_mmap=options.use_mmap,
            flash_attention=settings.flash_attention,
            kv_type=settings.kv_cache_type,
            embedding="completion" not in job.model.capabilities,
            draft_path=str(job.model.draft or ""),
        )
        explicit = frozenset(
            name for name, value in job.given.items() if value is not None and name in OPTIONS and OPTIONS[name].loads
        )
        return Wanted(job.model.shown, job.model.weights.hex, load, explicit)

    def _follow(self, row: str, output: Output, tokens: int, first: float | None) -> None:
        """Bring the request's row up to date."""
        if output.started is not None:
            self._requests.update(
                row,
                state=RequestState.PREFILL,
                prompt_tokens=output.started.prompt_tokens,
                cached_tokens=output.started.cached_tokens,
                prompt_done=output.started.cached_tokens,
            )
        if output.progress is not None:
            self._requests.update(row, prompt_done=output.progress.done)
        if first is not None:
            elapsed = self._clock() - first
            rate = (tokens - 1) / elapsed if tokens > 1 and elapsed > 0 else 0.0
            self._requests.update(
                row, state=RequestState.DECODE, first_token_s=first, output_tokens=tokens, tokens_per_s=rate
            )
        if output.finished is not None:
            done = output.finished
            rate = done.output_tokens / (done.output_ns / 1e9) if done.output_ns else 0.0
            self._requests.update(
                row, output_tokens=done.output_tokens, prompt_done=done.prompt_tokens, tokens_per_s=rate
            )


class _Row:
    """A request's row, opened on entry and closed on exit by whoever opened it: the API's middleware or the verb."""

    def __init__(self, requests: RequestLog, caller: Caller, model: str) -> None:
        self._requests = requests
        self._caller = caller
        self._model = model
        self._ours = False

    def __enter__(self) -> None:
        self._ours = self._requests.get(self._caller.request_id) is None
        self._requests.begin(self._caller, self._model)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self._ours:
            return
        row = self._caller.request_id
        if error is None:
            self._requests.end(row, status=200)
        elif isinstance(error, (GeneratorExit, asyncio.CancelledError, RequestCanceled)):
            self._requests.end(row, status=499, note="stopped")
        else:
            known = isinstance(error, (RunError, StoreError))
            self._requests.end(row, status=500, note=str(error) if known else type(error).__name__)


def _chat_prompt(turns: list[Message], template: str | None) -> protocol.ChatPrompt:
    return protocol.ChatPrompt([protocol.Turn(turn.role, turn.content) for turn in turns], template)


def _submission(job: _Job, wanted: Wanted, runner: Runner) -> Callable[[int], protocol.Submit]:
    options = job.options
    num_ctx = min(wanted.load.num_ctx, runner.loaded.num_ctx if runner.loaded else wanted.load.num_ctx)
    assert job.prompt is not None
    prompt = job.prompt
    sampling = {name: getattr(options, name) for name in protocol.Sampling.__struct_fields__}

    def make(request_id: int) -> protocol.Submit:
        return protocol.Submit(
            id=request_id,
            prompt=prompt,
            sampling=protocol.Sampling(**sampling),
            num_ctx=num_ctx,
            num_predict=options.num_predict,
            num_keep=options.num_keep,
            stop=list(options.stop),
            prefix=list(job.prefix),
            want_context=job.want_context,
            truncate=job.truncate,
            shift=job.shift,
            grammar=job.grammar,
            logprobs=job.logprobs,
            draft_num_predict=options.draft_num_predict,
        )

    return make


async def _embed(runner: Runner, request: EmbedRequest, num_ctx: int) -> list[protocol.Embedded]:
    """Have texts embedded, a part after the other: a message to or from a runner has its bounds."""
    parts: list[protocol.Embedded] = []
    for start in range(0, len(request.texts), MOST_TEXTS):
        texts = list(request.texts[start : start + MOST_TEXTS])
        parts.append(
            await runner.embed(partial(protocol.Embed, texts=texts, num_ctx=num_ctx, truncate=request.truncate))
        )
    return parts


def _embed_warnings(request: EmbedRequest, cut: int) -> tuple[str, ...]:
    warnings = _ignored(request.options)
    if cut:
        warnings += (f"{cut} of {len(request.texts)} texts were longer than the context and were cut at their end",)
    return warnings


def _ignored(options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"option {name!r} is not known and was ignored" for name in unknown_names(options))


def _load_warnings(job: _Job, runner: Runner) -> tuple[str, ...]:
    """What of the model's parts is not used, where the request would use it."""
    return tuple(runner.loaded.warnings) if runner.loaded and job.options.draft_num_predict else ()


def _logprob(one: protocol.Logprob) -> Logprob:
    text = one.piece.decode("utf-8", errors="replace")
    return Logprob(text, one.logprob, one.piece, tuple(map(_logprob, one.top)))


def _cut(output: Output) -> tuple[str, ...]:
    """What the runner says is not as asked for, and warnings where something was left out to make it fit."""
    warnings = list(output.started.warnings) if output.started is not None else []
    if output.started is not None and output.started.dropped:
        count = output.started.dropped
        warnings.append(f"the conversation is longer than the context: its {count} oldest messages were left out")
    if output.started is not None and output.started.cut:
        count = output.started.cut
        warnings.append(f"the prompt is longer than the context: {count} tokens were cut from its middle")
    if output.finished is not None and output.finished.shifted:
        count = output.finished.shifted
        warnings.append(f"the context was full: its {count} oldest tokens were dropped to go on")
    return tuple(warnings)


def _last(done: protocol.Finished, total_ns: int, load_ns: int, warnings: tuple[str, ...]) -> Chunk:
    return Chunk(
        done_reason=DoneReason.LENGTH if done.reason == "length" else DoneReason.STOP,
        stats=Stats(
            total_ns=total_ns,
            load_ns=load_ns,
            prompt_tokens=done.prompt_tokens,
            cached_tokens=done.cached_tokens,
            prompt_ns=done.prompt_ns,
            output_tokens=done.output_tokens,
            output_ns=done.output_ns,
            drafted=done.drafted,
            accepted=done.accepted,
        ),
        context=tuple(done.context),
        warnings=warnings,
    )
