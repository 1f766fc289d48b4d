"""Requests of OpenAI's and Anthropic's APIs and what they are answered with (spec b and c)."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.fakes.served import MODEL
from tests.unit.api.transcripts.native import HI, TOOL
from tests.unit.api.transcripts.shapes import EVENTS, JSON, Transcript

_NOT_FOUND = "model 'nope' not found"
_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def _refused(
    route: str, message: str, body: Any = b"", status: int = 400, kind: str = "invalid_request_error", path: str = ""
) -> Transcript:
    error = {"message": message, "type": kind, "param": None, "code": None}
    return Transcript(route, {"error": error}, body, path, status)


def _missing(route: str, **fields: Any) -> list[Transcript]:
    """A request of no body, of none that is JSON, and of a model that is not there."""
    return [
        _refused(route, "EOF"),
        _refused(route, "unexpected EOF", b"{"),
        _refused(route, _NOT_FOUND, {"model": "nope", **fields}, 404, "not_found_error"),
    ]


_CHAT = "POST /v1/chat/completions"
_TALK = {"model": MODEL, "messages": HI, "max_tokens": 4, "temperature": 0}
_CHAT_HEAD = {"id": re.compile(r"chatcmpl-\w+"), "created": int, "model": MODEL, "system_fingerprint": "fp_ollama"}
_WHOLE = {"object": "chat.completion", **_CHAT_HEAD, "usage": _USAGE}
_CHUNK = {"object": "chat.completion.chunk", **_CHAT_HEAD}


def _chosen(message: dict[str, Any], reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason, **more}


def _delta(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


_CALLED = {
    "id": "call_abcd1234",
    "index": 0,
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place":"Rome"}'},
}
_WORDS = [
    _delta({"role": "assistant", "content": "t0 "}),
    _delta({"content": "t1 "}),
    _delta({"content": "t2 "}),
]
_LOGPROB = {"token": str, "logprob": -0.5, "bytes": [int, int, int], "top_logprobs": []}
COMPLETED_CHAT: Final = Transcript(_CHAT, {**_WHOLE, "choices": [_chosen({"content": "t0 t1 t2 "})]}, _TALK, kind=JSON)
CHAT: Final = [
    COMPLETED_CHAT,
    Transcript(
        _CHAT,
        {
            **_WHOLE,
            "choices": [_chosen({"content": "t0 t1 t2 "}, logprobs={"content": [_LOGPROB] * 3})],
        },
        _TALK | {"logprobs": True},
        kind=JSON,
    ),
    Transcript(
        _CHAT,
        {**_WHOLE, "choices": [_chosen({"content": "t0 t1 t2 ", "tool_calls": [_CALLED]}, "tool_calls")]},
        _TALK | {"tools": [TOOL]},
        kind=JSON,
        calls=True,
    ),
    Transcript(
        _CHAT,
        {
            **_WHOLE,
            "choices": [_chosen({"content": "t0 t1 t2 ", "reasoning": "a b"})],
            "usage": _USAGE
            | {"completion_tokens": 5, "total_tokens": 17, "completion_tokens_details": {"reasoning_tokens": 2}},
        },
        _TALK,
        kind=JSON,
        thinks=True,
    ),
    Transcript(
        _CHAT,
        [*_WORDS, _delta({}, "stop"), {**_CHUNK, "choices": [], "usage": _USAGE}, "[DONE]"],
        _TALK | {"stream": True, "stream_options": {"include_usage": True}},
        kind=EVENTS,
    ),
    Transcript(
        _CHAT,
        [*_WORDS, _delta({"content": "", "tool_calls": [_CALLED]}), _delta({}, "tool_calls"), "[DONE]"],
        _TALK | {"stream": True, "tools": [TOOL]},
        kind=EVENTS,
        calls=True,
    ),
    Transcript(
        _CHAT,
        [_WORDS[0], {"error": {"message": str, "type": "api_error", "param": None, "code": None}}],
        _TALK | {"stream": True},
        kind=EVENTS,
        fails=True,
    ),
    *_missing(_CHAT, messages=HI),
    _refused(_CHAT, "model is required", {"messages": HI}),
    _refused(_CHAT, "[] is too short - 'messages'", {"model": MODEL, "messages": []}),
    _refused(
        _CHAT,
        'invalid reasoning value: "x" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none")',
        _TALK | {"reasoning_effort": "x"},
    ),
    _refused(
        _CHAT,
        "image URLs are not currently supported, please use base64 encoded data instead",
        _TALK | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x/y.png"}]}]},
    ),
]

_COMPLETE = "POST /v1/completions"
_PROMPT = {"model": MODEL, "prompt": "hi", "max_tokens": 4, "temperature": 0}
_TEXT_HEAD = {
    "id": re.compile(r"cmpl-\w+"),
    "object": "text_completion",
    "created": int,
    "model": MODEL,
    "system_fingerprint": "fp_ollama",
}


def _text(text: str, reason: str | None = None) -> dict[str, Any]:
    return {**_TEXT_HEAD, "choices": [{"text": text, "index": 0, "finish_reason": reason}]}


COMPLETED: Final = Transcript(_COMPLETE, _text("t0 t1 t2 ", "stop") | {"usage": _USAGE}, _PROMPT, kind=JSON)
EMBEDDED: Final = Transcript(
    "POST /v1/embeddings",
    {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [1.0, 0.5], "index": 0}],
        "model": MODEL,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
    {"model": MODEL, "input": "a", "dimensions": 2},
    kind=JSON,
)
_MODEL = {"id": MODEL, "object": "model", "created": int, "owned_by": "library"}
LISTED: Final = Transcript("GET /v1/models", {"object": "list", "data": [_MODEL]}, kind=JSON)
TEXTS: Final = [
    COMPLETED,
    Transcript(
        _COMPLETE,
        [_text("t0 "), _text("t1 "), _text("t2 "), _text("", "stop"), "[DONE]"],
        _PROMPT | {"stream": True},
        kind=EVENTS,
    ),
    *_missing(_COMPLETE, prompt="p"),
    _refused(_COMPLETE, "invalid type for 'stop' field: float64", _PROMPT | {"stop": [1]}),
    EMBEDDED,
    Transcript(
        "POST /v1/embeddings",
        {**EMBEDDED.answer, "data": [{"object": "embedding", "embedding": "AACAPwAAAD8=", "index": 0}]},
        EMBEDDED.body | {"encoding_format": "BASE64"},
        kind=JSON,
    ),
    *_missing("POST /v1/embeddings", input="a")[:2],
    _refused("POST /v1/embeddings", "invalid input", {"model": MODEL, "input": []}),
    _refused(
        "POST /v1/embeddings",
        "Invalid value for 'encoding_format' = x. Supported values: ['float', 'base64'].",
        {"model": MODEL, "input": "a", "encoding_format": "x"},
    ),
    Transcript(
        "POST /v1/rerank",
        {
            "model": MODEL,
            "object": "list",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
            "results": [
                {"index": 1, "relevance_score": 2.0, "document": {"text": "bb"}},
                {"index": 0, "relevance_score": 1.0, "document": {"text": "a"}},
            ],
        },
        {"model": MODEL, "query": "q", "documents": ["a", "bb"], "return_documents": True},
        kind=JSON,
    ),
    _refused("POST /v1/rerank", "documents must be a list of at least one text", {"model": MODEL, "query": "q"}),
    _refused("POST /v1/audio/transcriptions", "the request is no multipart form"),
    LISTED,
    Transcript("GET /v1/models/{model}", _MODEL, path=f"/v1/models/{MODEL}", kind=JSON),
    _refused("GET /v1/models/{model}", _NOT_FOUND, None, 404, "not_found_error", "/v1/models/nope"),
]

_RESPOND = "POST /v1/responses"
_ID, _ITEM_ID = re.compile(r"resp_\w+"), re.compile(r"msg_\w+")
_PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
_ITEM = {"id": _ITEM_ID, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
_DONE_PART = _PART | {"text": "t0 t1 t2 "}
_DONE_ITEM = _ITEM | {"status": "completed", "content": [_DONE_PART]}
_BEGUN = {
    "id": _ID,
    "object": "response",
    "created_at": int,
    "completed_at": None,
    "status": "in_progress",
    "incomplete_details": None,
    "model": MODEL,
    "previous_response_id": None,
    "instructions": None,
    "output": [],
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": {"effort": None, "summary": None},
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
_ENDED = _BEGUN | {
    "completed_at": int,
    "status": "completed",
    "output": [_DONE_ITEM],
    "usage": {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    },
}
_AT = {"item_id": _ITEM_ID, "output_index": 0, "content_index": 0}
_EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("response.created", {"response": _BEGUN}),
    ("response.in_progress", {"response": _BEGUN}),
    ("response.output_item.added", {"output_index": 0, "item": _ITEM}),
    ("response.content_part.added", _AT | {"part": _PART}),
    *(("response.output_text.delta", _AT | {"delta": word, "logprobs": []}) for word in ("t0 ", "t1 ", "t2 ")),
    ("response.output_text.done", _AT | {"text": "t0 t1 t2 ", "logprobs": []}),
    ("response.content_part.done", _AT | {"part": _DONE_PART}),
    ("response.output_item.done", {"output_index": 0, "item": _DONE_ITEM}),
    ("response.completed", {"response": _ENDED}),
]
RESPONSES: Final = [
    Transcript(_RESPOND, _ENDED, {"model": MODEL, "input": "hi"}, kind=JSON),
    Transcript(
        _RESPOND,
        [{"type": name, "sequence_number": number, **fields} for number, (name, fields) in enumerate(_EVENTS)],
        {"model": MODEL, "input": "hi", "stream": True},
        kind=EVENTS,
    ),
    Transcript(
        _RESPOND,
        [*(dict for _ in _EVENTS[:5]), {"type": "response.failed", "sequence_number": 5, "response": dict}],
        {"model": MODEL, "input": "hi", "stream": True},
        kind=EVENTS,
        fails=True,
    ),
    *_missing(_RESPOND, input="hi"),
]

_MESSAGES, _COUNT = "POST /v1/messages", "POST /v1/messages/count_tokens"
_ASK = {"model": MODEL, "messages": HI, "max_tokens": 4, "temperature": 0}
_VERSION = {"anthropic-version": "2023-06-01"}
_MESSAGE_ID = re.compile(r"msg_\w+")
_SPENT = {
    "input_tokens": 8,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 4,
    "output_tokens": 3,
}
_MESSAGE = {"id": _MESSAGE_ID, "type": "message", "role": "assistant", "model": MODEL}
_STOPPED = {"stop_reason": "end_turn", "stop_sequence": None}


def _answered(usage: dict[str, Any], content: list[Any], stop: dict[str, Any]) -> dict[str, Any]:
    return {**_MESSAGE, "usage": usage, "content": content, **stop}


def _failed(route: str, message: str, body: Any = b"", status: int = 400, kind: str = "invalid_request_error") -> Any:
    error = {"type": kind, "message": message}
    answer = {"type": "error", "error": error, "request_id": re.compile(r"req_\w+")}
    return Transcript(route, answer, body, status=status)


ANSWERED: Final = Transcript(
    _MESSAGES, _answered(_SPENT, [{"type": "text", "text": "t0 t1 t2 "}], _STOPPED), _ASK, kind=JSON
)
_STARTED = _answered({"input_tokens": 0, "output_tokens": 0}, [], {"stop_reason": None, "stop_sequence": None})
_ANTHROPIC_MODEL = {
    "type": "model",
    "id": MODEL,
    "display_name": MODEL,
    "created_at": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    "lifecycle": "active",
    "max_input_tokens": 8192,
    "max_tokens": 8192,
}
ANTHROPIC: Final = [
    ANSWERED,
    Transcript(
        _MESSAGES,
        [
            {"type": "message_start", "message": _STARTED},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
                for word in ("t0 ", "t1 ", "t2 ")
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": _STOPPED, "usage": _SPENT},
            {"type": "message_stop"},
        ],
        _ASK | {"stream": True},
        kind=EVENTS,
    ),
    Transcript(
        _MESSAGES,
        _answered(
            _SPENT,
            [
                {"type": "text", "text": "t0 t1 t2 "},
                {"type": "tool_use", "id": "call_abcd1234", "name": "weather", "input": {"place": "Rome"}},
            ],
            _STOPPED | {"stop_reason": "tool_use"},
        ),
        _ASK | {"tools": [{"name": "weather", "input_schema": {"type": "object"}}]},
        kind=JSON,
        calls=True,
    ),
    Transcript(
        _MESSAGES,
        _answered(
            _SPENT | {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2}},
            [{"type": "thinking", "thinking": "a b", "signature": str}, {"type": "text", "text": "t0 t1 t2 "}],
            _STOPPED,
        ),
        _ASK,
        kind=JSON,
        thinks=True,
    ),
    Transcript(
        _MESSAGES,
        [
            *(dict for _ in range(4)),
            {"type": "error", "error": {"type": "api_error", "message": str}, "request_id": str},
        ],
        _ASK | {"stream": True},
        kind=EVENTS,
        fails=True,
    ),
    _failed(_MESSAGES, "EOF"),
    _failed(_MESSAGES, "model is required", {}),
    _failed(_MESSAGES, "max_tokens is required and must be positive", {"model": MODEL}),
    _failed(_MESSAGES, "messages is required", {"model": MODEL, "max_tokens": 3}),
    _failed(_MESSAGES, _NOT_FOUND, _ASK | {"model": "nope"}, 404, "not_found_error"),
    Transcript(_COUNT, {"input_tokens": 2}, {"model": MODEL, "messages": HI}, kind=JSON),
    _failed(_COUNT, _NOT_FOUND, {"model": "nope", "messages": HI}, 404, "not_found_error"),
    Transcript(
        "GET /v1/models",
        {"data": [_ANTHROPIC_MODEL], "has_more": False, "first_id": MODEL, "last_id": MODEL},
        kind=JSON,
        headers=_VERSION,
    ),
    Transcript("GET /v1/models/{model}", _ANTHROPIC_MODEL, path=f"/v1/models/{MODEL}", kind=JSON, headers=_VERSION),
]

COMPATIBLE: Final = [*CHAT, *TEXTS, *RESPONSES, *ANTHROPIC]
