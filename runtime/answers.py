"""From a request to its answer: find the model, hold it, submit the prompt, hand out what comes, keep the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial

import msgspec

from corral.runtime.dispatch import Cancellation, Dispatch, ignored
from corral.runtime.engine import protocol
from corral.runtime.engine.framing import MAX_FRAME_BYTES
from corral.runtime.errors import BadRequest, NotSupported
from corral.runtime.formats import grammar_for
from corral.runtime.library import ModelOnDisk
from corral.runtime.options import Options, parse_options
from corral.runtime.prompt.thinking import Think
from corral.runtime.reload import unmet_options
from corral.runtime.remote.answers import RemoteAnswers
from corral.runtime.residents import Wanted
from corral.runtime.runner import Runner
from corral.runtime.runner_stream import Output
from corral.runtime.snapshot import RequestState
from corral.runtime.tool_use import call_from, new_call_id, tool_use
from corral.runtime.verbs import (
    Caller,
    ChatRequest,
    Chunk,
    DoneReason,
    GenerateRequest,
    Logprob,
    Message,
    Stats,
)
from corral.runtime.waiting import PromptWatch, load_progress

_NOT_SHIFTED = frozenset({"deepseek2"})
"""Architectures whose answers end where the context is full, unless a request says otherwise (spec a.7)."""
MAX_TOP_LOGPROBS = 20
_MOST_IMAGE_BYTES = MAX_FRAME_BYTES * 3 // 4
"""The rest of what can be said to a runner at once is for texts."""
ROW_EVERY_S = 0.05
"""How often a request's row in the table follows its tokens: faster than anybody looks."""


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
    progress: bool = False
    render_only: bool = False


class Answers:
    """Answers chat and generate. Owned by the service loop."""

    def __init__(
        self,
        dispatch: Dispatch,
        new_call_id: Callable[[], str] = new_call_id,
        remotes: RemoteAnswers | None = None,
    ) -> None:
        """`new_call_id` makes the ids of tool calls, `remotes` answers for models whose engine is elsewhere."""
        self._dispatch = dispatch
        self._remotes = remotes or RemoteAnswers(dispatch, None)
        self._new_call_id = new_call_id
        self._requests = dispatch.requests
        self._clock = dispatch.clock

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Answer a chat; see `verbs.Client.chat`."""
        caller = self._dispatch.caller(request.caller, "chat")
        async with AsyncExitStack() as row:
            row.enter_context(self._dispatch.row(caller, request.model))
            model = await self._dispatch.open(request.model)
            if model.remote is not None:
                async with aclosing(self._remotes.chat(caller, model, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            prompt = chat_prompt(request, model) if request.messages else None
            self._requests.recordings.add_asked(caller.request_id, request)
            job = self._job(caller, model, request, prompt, "chat")
            async for chunk in self._answer(job):
                yield chunk

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Answer a prompt; see `verbs.Client.generate`."""
        caller = self._dispatch.caller(request.caller, "generate")
        async with AsyncExitStack() as row:
            row.enter_context(self._dispatch.row(caller, request.model))
            self._requests.recordings.add_asked(caller.request_id, request)
            model = await self._dispatch.open(request.model)
            if model.remote is not None:
                async with aclosing(self._remotes.generate(caller, model, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            prompt: protocol.RawPrompt | protocol.ChatPrompt | None = None
            if request.prompt and request.raw:
                prompt = protocol.RawPrompt(request.prompt, list(request.images))
            elif request.prompt:
                system = model.system if request.system is None else request.system
                turns = [Message("system", system)] if system else []
                turns += [] if request.context else model.history
                turns.append(Message("user", request.prompt, images=request.images))
                think = _think(request, model)
                if request.template is None:
                    prompt = _chat_prompt(turns, model.template, think, model, request.suffix)
                else:
                    prompt = _chat_prompt(turns, request.template, think, None, request.suffix)
            if request.suffix and not await self._dispatch.library.inserts(model):
                raise NotSupported(f"{model.name.full} does not support insert")
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
        # Unloading is asked for in this way of every model (spec a.7).
        unloads = prompt is None and request.keep_alive_s == 0
        if "completion" not in model.capabilities and not unloads:
            raise NotSupported(f'"{request.model}" does not support {verb}')
        _check_images(prompt, model)
        _think(request, model)
        if not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
            raise BadRequest(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
        generate = request if isinstance(request, GenerateRequest) else None
        options = parse_options(model.parameters, request.options)
        warnings = caller.warnings + ignored(request.options)
        self._dispatch.refuse(warnings)
        strict = self._dispatch.settings.strict
        shift = model.header.architecture not in _NOT_SHIFTED and not strict
        return _Job(
            caller=caller,
            model=model,
            options=options,
            given={**model.parameters, **request.options},
            prompt=prompt,
            keep_alive_s=self._dispatch.keep_alive_s(request.keep_alive_s, model),
            prefix=generate.context if generate and not generate.raw else (),
            want_context=generate is not None and not generate.raw,
            truncate=request.truncate and not strict,
            shift=shift if request.shift is None else request.shift,
            warnings=warnings,
            logprobs=request.top_logprobs if request.logprobs else None,
            progress=request.progress,
            render_only=request.render_only,
            grammar=grammar_for(request.format, request.options, options.grammar, options.regex),
        )

    async def _answer(self, job: _Job) -> AsyncGenerator[Chunk, None]:
        scheduler = self._dispatch.scheduler
        if job.prompt is None and job.keep_alive_s == 0:
            await scheduler.unload(job.model.runner_key)
            yield Chunk(done_reason=DoneReason.UNLOAD)
            return
        began = self._clock()
        wanted = self._dispatch.wanted(job.model, job.given)
        cancellation = Cancellation()
        row = job.caller.request_id
        self._requests.begin(job.caller, job.model.shown, cancellation.cancel)
        resident = scheduler.find(wanted.digest)
        loads = resident is None or not resident.ready.done()
        self._requests.update(row, state=RequestState.LOADING if loads else RequestState.WAITING)
        async with AsyncExitStack() as stack:
            lease_of = scheduler.lease(wanted, job.keep_alive_s, job.caller.priority, row)
            entering = stack.enter_async_context(lease_of)
            if scheduler.serves(wanted):
                lease = await entering
            else:
                leasing = asyncio.ensure_future(cancellation.guard(entering))
                if job.progress:
                    fraction = partial(scheduler.load_fraction, wanted.digest)
                    async with aclosing(load_progress(leasing, fraction)) as steps:
                        async for step in steps:
                            yield Chunk(progress=step)
                lease = await leasing
            if job.prompt is None:
                total_ns = int((self._clock() - began) * 1e9)
                yield Chunk(done_reason=DoneReason.LOAD, stats=Stats(total_ns=total_ns, load_ns=lease.load_ns))
                return
            self._dispatch.refuse(_load_warnings(job, lease.runner))
            stream = lease.runner.submit(_submission(job, wanted, lease.runner))
            stack.callback(lease.runner.release, stream)
            cancellation.stream = stream
            warnings = job.warnings + _load_warnings(job, lease.runner) + unmet_options(lease.load, wanted)
            self._requests.update(row, state=RequestState.WAITING, warnings=warnings, load_s=lease.load_ns / 1e9)
            tokens, first, told = 0, None, 0.0
            watch = PromptWatch(self._clock)
            while True:
                output = await stream.take()
                if (output.started or output.finished) and (cut := _cut(output)):
                    self._dispatch.refuse(() if output.finished is not None else cut)
                    warnings += cut
                    self._requests.update(row, warnings=warnings)
                if job.progress and (prompt := watch.take(output)) is not None:
                    yield Chunk(progress=prompt)
                now = self._clock()
                if output.tokens and first is None:
                    first, told = now, 0.0
                tokens += output.tokens
                if now - told >= ROW_EVERY_S or output.started or output.progress or output.finished:
                    told = now
                    self._follow(row, output, tokens, first)
                if output.text or output.thinking or output.logprobs:
                    logprobs = tuple(map(_logprob, output.logprobs))
                    yield Chunk(text=output.text, logprobs=logprobs, thinking=output.thinking)
                if output.calls:
                    yield Chunk(tool_calls=tuple(call_from(call, self._new_call_id()) for call in output.calls))
                if output.rendered is not None:
                    images = len(_images(job.prompt))
                    yield Chunk(done_reason=DoneReason.STOP, rendered=output.rendered.text, images=images)
                    return
                if output.finished is not None:
                    total_ns = int((self._clock() - began) * 1e9)
                    yield _last(output.finished, total_ns, lease.load_ns, warnings, output.thought)
                    return

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
                row,
                output_tokens=done.output_tokens,
                prompt_done=done.prompt_tokens,
                prompt_s=done.prompt_ns / 1e9,
                tokens_per_s=rate,
                drafted=done.drafted,
                accepted=done.accepted,
            )


def chat_prompt(request: ChatRequest, model: ModelOnDisk) -> protocol.ChatPrompt:
    """Return what a runner is told to render of a conversation. Raises NotSupported."""
    turns = [*model.history, *request.messages]
    if request.messages and request.messages[0].role != "system" and model.system:
        turns.insert(0, Message("system", model.system))
    prompt = _chat_prompt(turns, model.template, _think(request, model), model)
    return msgspec.structs.replace(prompt, tools=_tools(request, model))


def _think(request: ChatRequest | GenerateRequest, model: ModelOnDisk) -> Think:
    """Return whether the model is to think: where nothing is said, if it can (spec a.7). Raises NotSupported."""
    can_think = "thinking" in model.capabilities
    if request.think and not can_think:
        raise NotSupported(f'"{request.model}" does not support thinking')
    return True if request.think is None and can_think else request.think


def _tools(request: ChatRequest, model: ModelOnDisk) -> protocol.ToolUse | None:
    """Return what the model is told of the tools it may call. Raises NotSupported and BadRequest."""
    bound = bool(request.format) or any(request.options.get(name) for name in ("grammar", "regex"))
    tools = tool_use(request.tools, bound=bound)
    if tools is not None and "tools" not in model.capabilities:
        raise NotSupported(f"{model.name.full} does not support tools")
    return tools


def _check_images(prompt: protocol.RawPrompt | protocol.ChatPrompt | None, model: ModelOnDisk) -> None:
    """Refuse images that the model cannot read or that are too much for one message. Raises RunError."""
    images = _images(prompt)
    if images and "vision" not in model.capabilities:
        raise NotSupported(f"{model.name.full} does not support vision")
    if sum(map(len, images)) > _MOST_IMAGE_BYTES:
        raise BadRequest(f"the images of a request may have {_MOST_IMAGE_BYTES // 2**20} MiB together")


def _images(prompt: protocol.RawPrompt | protocol.ChatPrompt | None) -> list[bytes]:
    if isinstance(prompt, protocol.ChatPrompt):
        return [image for turn in prompt.turns for image in turn.images]
    return prompt.images if prompt is not None else []


def _turn(message: Message) -> protocol.Turn:
    calls = [protocol.ToolCall(call.name, json.dumps(call.arguments), call.id) for call in message.tool_calls]
    return protocol.Turn(
        role=message.role,
        content=message.content,
        thinking=message.thinking,
        images=list(message.images),
        tool_calls=calls,
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
    )


def _chat_prompt(
    turns: list[Message], template: str | None, think: Think, model: ModelOnDisk | None, suffix: str = ""
) -> protocol.ChatPrompt:
    """Return a conversation to be rendered as `model` says; by nothing but the template where that is None."""
    said = [_turn(message) for message in turns]
    renderer, parser = (model.renderer, model.parser) if model is not None else ("", "")
    return protocol.ChatPrompt(said, template, think, renderer=renderer, parser=parser, suffix=suffix)


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
            render_only=job.render_only,
        )

    return make


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
    warnings += output.finished.warnings if output.finished is not None else []
    if output.finished is not None and output.finished.shifted:
        count = output.finished.shifted
        warnings.append(f"the context was full: its {count} oldest tokens were dropped to go on")
    return tuple(warnings)


def _last(done: protocol.Finished, total_ns: int, load_ns: int, warnings: tuple[str, ...], thought: int) -> Chunk:
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
            thinking_tokens=thought,
        ),
        context=tuple(done.context),
        warnings=warnings,
        stop=done.stop,
    )
