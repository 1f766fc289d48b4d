"""What the native API answers with: the workbench's frozen replies as JSON objects (spec a.7, a.8, a.11 to a.13)."""

from __future__ import annotations

import json
from typing import Any

from corral.api.reply import encode, expiry, local_time, utc_now, without_empty
from corral.runtime.options import OPTIONS, Kind
from corral.runtime.verbs import (
    Chunk,
    Details,
    Embeddings,
    LoadedModel,
    LoadProgress,
    Logprob,
    ModelDetails,
    ModelSummary,
    Progress,
    PromptProgress,
    Ranking,
    ToolCall,
)


def generate_object(model: str, chunk: Chunk) -> dict[str, Any]:
    """A piece of an answer on `/api/generate`; `response` is always there, the figures on the last one only."""
    reply: dict[str, Any] = {"model": model, "created_at": utc_now(), "response": chunk.text}
    if chunk.thinking:
        reply["thinking"] = chunk.thinking
    reply["done"] = chunk.done_reason is not None
    if chunk.rendered:
        return reply | _rendered(chunk)
    return _with_rest(reply, chunk)


class ChatObjects:
    """The pieces of one answer on `/api/chat`; its tool calls are counted over all of them."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, model: str, chunk: Chunk) -> dict[str, Any]:
        """Return the next piece."""
        said: dict[str, Any] = {"role": "assistant", "content": chunk.text}
        if chunk.thinking:
            said["thinking"] = chunk.thinking
        if chunk.tool_calls:
            said["tool_calls"] = [call_object(call, self._calls + at) for at, call in enumerate(chunk.tool_calls)]
            self._calls += len(chunk.tool_calls)
        reply = {"model": model, "created_at": utc_now(), "message": said, "done": chunk.done_reason is not None}
        if chunk.rendered:
            return reply | {"message": {"role": "", "content": ""}} | _rendered(chunk)
        return _with_rest(reply, chunk)


def _with_rest(reply: dict[str, Any], chunk: Chunk) -> dict[str, Any]:
    """Add what few pieces have; most are a word of text, and there are thousands of them."""
    if chunk.progress is not None:
        reply |= _progress(chunk)
    if chunk.logprobs:
        reply["logprobs"] = [logprob_object(one) for one in chunk.logprobs]
    if chunk.done_reason is not None:
        reply |= _trailer(chunk)
    return reply


def call_object(call: ToolCall, index: int) -> dict[str, Any]:
    """A tool call; `index` is its place in the answer."""
    function = {"index": index, "name": call.name, "arguments": dict(call.arguments)}
    return without_empty(id=call.id) | {"function": function}


def _rendered(chunk: Chunk) -> dict[str, Any]:
    """The prompt of a request that asked for nothing else; Ollama never calls such an answer done."""
    return {"done": False, "_debug_info": debug_object(chunk)}


def debug_object(chunk: Chunk) -> dict[str, Any]:
    """What a request that asked for nothing but its prompt is told."""
    return {"rendered_template": chunk.rendered} | without_empty(image_count=chunk.images)


def _progress(chunk: Chunk) -> dict[str, Any]:
    """How far load or prompt are, for who asked."""
    match chunk.progress:
        case LoadProgress(fraction):
            return {"load_progress": fraction}
        case PromptProgress(done, total, cached):
            return {"prompt_eval_progress": {"cached": cached, "completed": done, "total": total}}
        case None:
            return {}


def logprob_object(one: Logprob) -> dict[str, Any]:
    """How likely a token was, with the likeliest in its place where they were asked for."""
    reply = {"token": one.token, "logprob": one.logprob, "bytes": list(one.data)}
    return reply | without_empty(top_logprobs=[logprob_object(other) for other in one.top])


def _trailer(chunk: Chunk) -> dict[str, Any]:
    stats = chunk.stats
    drafts = {"draft_count": stats.drafted, "draft_accepted_count": stats.accepted} if stats.drafted else {}
    return (
        without_empty(
            done_reason=str(chunk.done_reason),
            context=list(chunk.context),
            total_duration=stats.total_ns,
            load_duration=stats.load_ns,
            prompt_eval_count=stats.prompt_tokens,
            prompt_eval_cached_count=stats.cached_tokens,
            prompt_eval_duration=stats.prompt_ns,
            eval_count=stats.output_tokens,
            eval_duration=stats.output_ns,
            thinking_count=stats.thinking_tokens,
            warnings=list(chunk.warnings),
            remote_model=chunk.remote_model,
            remote_host=chunk.remote_host,
        )
        | drafts
    )


def progress_object(progress: Progress) -> dict[str, Any]:
    """A step of a pull or create."""
    return {"status": progress.status} | without_empty(
        digest=progress.digest, total=progress.total, completed=progress.completed
    )


def line(value: dict[str, Any]) -> tuple[bytes, ...]:
    """One line of NDJSON."""
    return (encode(value), b"\n")


def details_object(details: Details) -> dict[str, Any]:
    """The short description that listings and show share."""
    return {
        "parent_model": details.parent_model,
        "format": details.format,
        "family": details.family,
        "families": list(details.families) or None,
        "parameter_size": details.parameter_size,
        "quantization_level": details.quantization_level,
    } | without_empty(context_length=details.context_length, embedding_length=details.embedding_length)


def tag_object(model: ModelSummary) -> dict[str, Any]:
    """A model on disk, as `/api/tags` lists it."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": local_time(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": details_object(model.details),
    } | without_empty(
        capabilities=list(model.capabilities), remote_model=model.remote_model, remote_host=model.remote_host
    )


def loaded_object(model: LoadedModel) -> dict[str, Any]:
    """A model in memory, as `/api/ps` lists it."""
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": details_object(model.details),
        "expires_at": expiry(model.expires_at),
        "size_vram": model.size_vram,
        "context_length": model.context_length,
    } | (_elsewhere(model) if model.remote_host else {})


def _elsewhere(model: LoadedModel) -> dict[str, Any]:
    """What Ollama does not list: a model in use whose engine is on other servers, and how these are."""
    hosts = [
        {"host": host.url, "healthy": not host.ill} | without_empty(reason=host.ill) | {"requests": host.requests}
        for host in model.hosts
    ]
    return {
        "remote_model": model.remote_model,
        "remote_host": model.remote_host,
        "requests": model.requests,
        "hosts": hosts,
    }


def show_object(model: ModelDetails) -> dict[str, Any]:
    """All there is to know about a model."""
    messages = [{"role": message.role, "content": message.content} for message in model.messages]
    tensors = [{"name": tensor.name, "type": tensor.type, "shape": list(tensor.shape)} for tensor in model.tensors]
    return (
        without_empty(
            license=model.license,
            modelfile=model.modelfile,
            parameters="\n".join(_parameter_line(name, value) for name, value in model.parameters),
            template=model.template,
            system=model.system,
            renderer=model.renderer,
            parser=model.parser,
        )
        | {"details": details_object(model.details)}
        | without_empty(messages=messages)
        | {"model_info": dict(model.model_info)}
        | without_empty(projector_info=dict(model.projector_info))
        | without_empty(tensors=tensors, capabilities=list(model.capabilities))
        | {"modified_at": local_time(model.modified_at)}
        | without_empty(requires=model.requires, remote_model=model.remote_model, remote_host=model.remote_host)
    )


def _parameter_line(name: str, value: str) -> str:
    option = OPTIONS.get(name)
    is_text = option is None or option.kind in (Kind.STRINGS, Kind.TEXT)
    return f"{name:<30} {json.dumps(value, ensure_ascii=False) if is_text else value}"


def pooled_trailer(found: Embeddings | Ranking) -> dict[str, Any]:
    """What it took to pool texts, behind what they were pooled to."""
    return without_empty(
        total_duration=found.stats.total_ns,
        load_duration=found.stats.load_ns,
        prompt_eval_count=found.stats.prompt_tokens,
        warnings=list(found.warnings),
    )
