"""An answer as chat completions tell it, whole or piece by piece (spec b.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corral.api.ollama.replies import logprob_object
from corral.api.openai.tools import call_object, with_ids
from corral.api.openai.usage import sum_of_choices, usage_object
from corral.api.reply import without_empty
from corral.runtime.verbs import Chunk, DoneReason, PromptProgress, Stats


@dataclass(slots=True)
class _Choice:
    """One of the answers: whether anything of it was sent, how many calls were, and what it took once it is done."""

    begun: bool = False
    calls: int = 0
    stats: Stats | None = None


class Warnings:
    """What was told already of that which is not as asked for: several answers to one request share most of it."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self, *chunks: Chunk) -> dict[str, Any]:
        """Return what these say and none before did, as a field of a reply."""
        said = dict.fromkeys(one for chunk in chunks for one in chunk.warnings if one not in self._told)
        self._told.update(said)
        return without_empty(warnings=list(said))


class Completion:
    """The answers to one request in OpenAI's form: what their pieces share, and how far each is."""

    def __init__(self, completion_id: str, model: str, created: int, *, choices: int = 1) -> None:
        self._shared = {"id": completion_id, "created": created, "model": model, "system_fingerprint": "fp_ollama"}
        self._choices = [_Choice() for _ in range(choices)]
        self._warnings = Warnings()

    def whole(self, answers: Sequence[Chunk]) -> dict[str, Any]:
        """Return all answers as one object."""
        reply: dict[str, Any] = {"object": "chat.completion", **self._shared}
        reply["choices"] = [_choice(answer, index) for index, answer in enumerate(answers)]
        reply["usage"] = usage_object(sum_of_choices([answer.stats for answer in answers], len(answers)))
        return reply | self._warnings.new(*answers) | _debug_info(answers[0])

    def events(self, chunk: Chunk, index: int = 0, *, usage: bool) -> Iterator[dict[str, Any]]:
        """Yield a piece of one answer as chunks: the role with the first, then thoughts, texts, calls and the finish.

        After the last finish comes the usage. How far the prompt is comes before, in the form of llama.cpp's server;
        how far a load is has none.
        """
        choice = self._choices[index]
        if chunk.progress is not None:
            if isinstance(chunk.progress, PromptProgress):
                delta = {"role": "assistant", "content": None}
                told = self._chunk([{"index": index, "delta": delta, "finish_reason": None}])
                yield told | {"prompt_progress": _prompt_progress(chunk.progress)}
            return
        if chunk.thinking:
            logprobs = {} if chunk.text else _logprobs(chunk)
            yield self._said(index, {"content": "", "reasoning": chunk.thinking}, logprobs)
        if chunk.text or (chunk.logprobs and not chunk.thinking) or not (choice.begun or chunk.tool_calls):
            yield self._said(index, {"content": chunk.text}, _logprobs(chunk))
        for call in with_ids(chunk.tool_calls):
            yield self._said(index, {"content": "", "tool_calls": [call_object(call, choice.calls)]}, {})
            choice.calls += 1
        if chunk.done_reason is None:
            return
        choice.stats = chunk.stats
        reason = finish_reason(chunk.done_reason, called=choice.calls > 0)
        finish = self._chunk([{"index": index, "delta": {}, "finish_reason": reason}])
        yield finish | self._warnings.new(chunk) | _debug_info(chunk)
        stats = [one.stats for one in self._choices if one.stats is not None]
        if usage and len(stats) == len(self._choices):
            yield self._chunk([]) | {"usage": usage_object(sum_of_choices(stats, len(stats)))}

    def _said(self, index: int, delta: dict[str, Any], logprobs: dict[str, Any]) -> dict[str, Any]:
        """Return what is new as a chunk; an answer's first one says whose it is."""
        choice = self._choices[index]
        role = {} if choice.begun else {"role": "assistant"}
        choice.begun = True
        return self._chunk([{"index": index, "delta": role | delta, "finish_reason": None, **logprobs}])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "chat.completion.chunk", **self._shared, "choices": choices}


def finish_reason(reason: DoneReason | None, *, called: bool = False) -> str:
    """Return why an answer ended in OpenAI's words; only to be called and to be cut off are other than a stop."""
    if reason is DoneReason.LENGTH:
        return "length"
    return "tool_calls" if called else "stop"


def _choice(answer: Chunk, index: int) -> dict[str, Any]:
    calls = [call_object(call, at) for at, call in enumerate(with_ids(answer.tool_calls))]
    said = {"role": "assistant", "content": answer.text}
    return {
        "index": index,
        "message": said | without_empty(reasoning=answer.thinking, tool_calls=calls),
        "finish_reason": finish_reason(answer.done_reason, called=bool(calls)),
        **_logprobs(answer),
    }


def _logprobs(chunk: Chunk) -> dict[str, Any]:
    """Return a choice's log probabilities; clients read `top_logprobs` of each token, asked for or not."""
    content = [{"top_logprobs": [], **logprob_object(one)} for one in chunk.logprobs]
    return {"logprobs": {"content": content}} if content else {}


def _prompt_progress(progress: PromptProgress) -> dict[str, int]:
    return {
        "total": progress.total,
        "cache": progress.cached,
        "processed": progress.done,
        "time_ms": progress.elapsed_ns // 1_000_000,
    }


def _debug_info(chunk: Chunk) -> dict[str, Any]:
    return {"_debug_info": {"rendered_template": chunk.rendered}} if chunk.rendered else {}
