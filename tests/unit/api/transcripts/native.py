"""Requests of the native API and what they are answered with (spec a)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from tests.fakes.served import MODEL
from tests.unit.api.transcripts.shapes import (
    JSON,
    LOCAL_TIME,
    NDJSON,
    SHA256,
    TEXT,
    UTC_TIME,
    Many,
    Transcript,
)

HI: Final = [{"role": "user", "content": "hi"}]
TOOL: Final = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}
#: Of use with a real model only; the one in memory passes them over.
FEW: Final = {"num_predict": 4, "temperature": 0}

_HELLO = hashlib.sha256(b"hello").hexdigest()
_OTHER = hashlib.sha256(b"other").hexdigest()
_HEAD = {"model": MODEL, "created_at": UTC_TIME}
_STATS = {
    "total_duration": 2_000_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": 12,
    "prompt_eval_cached_count": 4,
    "prompt_eval_duration": 100_000_000,
    "eval_count": 3,
    "eval_duration": 1_000_000_000,
}
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
    "context_length": 8192,
    "embedding_length": 576,
}
_LOGPROB = {
    "token": "t0 ",
    "logprob": -0.5,
    "bytes": [116, 48, 32],
    "top_logprobs": [{"token": "t0 0", "logprob": -1.0, "bytes": [116, 48, 32]}],
}


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _refused(route: str, message: str, body: Any = b"", status: int = 400, path: str = "") -> Transcript:
    return Transcript(route, {"error": message}, body, path, status)


def _names(route: str, fields: dict[str, Any], empty: tuple[int, str], missing: str) -> list[Transcript]:
    """A request of no body, of no model, of a name that is none, and of one that is not there (spec a.4)."""
    return [
        _refused(route, "missing request body"),
        _refused(route, empty[1], {**fields, "model": ""}, empty[0]),
        _refused(route, "invalid model name", {**fields, "model": "a//b"}),
        _refused(route, missing, {**fields, "model": "nope"}, 404),
    ]


ABOUT: Final = [
    Transcript("GET /", "Ollama is running", kind=TEXT),
    Transcript("HEAD /", None, kind=TEXT),
    Transcript("GET /api/version", {"version": "0.33.0"}),
    Transcript("HEAD /api/version", None),
    Transcript("GET /api/status", {"cloud": {"disabled": True, "source": "config"}}),
    Transcript("POST /api/me", {"error": "unauthorized", "signin_url": "https://ollama.com/connect"}, status=401),
    _refused("POST /api/signout", "you are not currently signed in", status=401),
    _refused("DELETE /api/user/keys/{key}", "you are not currently signed in", None, 401, "/api/user/keys/c3No"),
    _refused("POST /api/experimental/web_search", "ollama cloud is disabled: web search is unavailable", status=403),
    _refused("POST /api/experimental/web_fetch", "ollama cloud is disabled: web fetch is unavailable", status=403),
    Transcript("GET /api/experimental/model-recommendations", {"recommendations": []}),
]

MODELS: Final = [
    Transcript(
        "GET /api/tags",
        {
            "models": [
                {
                    "name": MODEL,
                    "model": MODEL,
                    "modified_at": LOCAL_TIME,
                    "size": 98_362_432,
                    "digest": SHA256,
                    "details": _DETAILS,
                    "capabilities": ["completion"],
                }
            ]
        },
    ),
    Transcript("HEAD /api/tags", None),
    Transcript(
        "GET /api/ps",
        {
            "models": [
                {
                    "name": MODEL,
                    "model": MODEL,
                    "size": 200_000_000,
                    "digest": SHA256,
                    "details": _DETAILS,
                    "expires_at": LOCAL_TIME,
                    "size_vram": 0,
                    "context_length": 4096,
                }
            ]
        },
    ),
    Transcript(
        "POST /api/show",
        {
            "license": "Apache License\nVersion 2.0",
            "modelfile": f"FROM {MODEL}\nPARAMETER temperature 0.7\n",
            "parameters": 'temperature                    0.7\nstop                           "<|im_end|>"',
            "template": "{{ .Prompt }}",
            "system": "You are a helpful AI assistant named SmolLM",
            "details": _DETAILS,
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
            "tensors": Many({"name": str, "type": str, "shape": Many(int)}),
            "capabilities": ["completion"],
            "modified_at": LOCAL_TIME,
        },
        {"name": MODEL},
    ),
    *_names("POST /api/show", {}, (400, "model is required"), "model 'nope:latest' not found"),
    Transcript("POST /api/copy", None, {"source": MODEL, "destination": "mine"}, kind=""),
    _refused("POST /api/copy", "missing request body"),
    _refused("POST /api/copy", 'source "" is invalid', {"source": "", "destination": "x"}),
    _refused("POST /api/copy", 'destination "a//b" is invalid', {"source": "x", "destination": "a//b"}),
    _refused("POST /api/copy", 'model "nope" not found', {"source": "nope", "destination": "x"}, 404),
    Transcript("DELETE /api/delete", None, {"model": MODEL}, kind=""),
    _refused("DELETE /api/delete", "missing request body"),
    _refused("DELETE /api/delete", "model is required", {"model": ""}),
    _refused("DELETE /api/delete", 'name "a//b" is invalid', {"model": "a//b"}),
    _refused("DELETE /api/delete", "model 'nope' not found", {"model": "nope"}, 404),
]

_GENERATE = "POST /api/generate"
_PROMPT = {"model": MODEL, "prompt": "hi", "options": FEW}
_WORDS = [{**_HEAD, "response": word, "done": False} for word in ("t0 ", "t1 ", "t2 ")]
_END = {"done": True, "done_reason": "stop", "context": [1, 2, 3], **_STATS}
GENERATED: Final = Transcript(_GENERATE, {**_HEAD, "response": "t0 t1 t2 ", **_END}, _PROMPT | {"stream": False})
GENERATE: Final = [
    GENERATED,
    Transcript(_GENERATE, [*_WORDS, {**_HEAD, "response": "", **_END}], _PROMPT, kind=NDJSON),
    Transcript(
        _GENERATE,
        {
            **_HEAD,
            "response": "t0 t1 t2 ",
            **{name: value for name, value in _END.items() if name != "context"},
            "logprobs": [_LOGPROB, dict, dict],
        },
        _PROMPT | {"stream": False, "raw": True, "logprobs": True, "top_logprobs": 1},
    ),
    Transcript(
        _GENERATE,
        [
            *({**_HEAD, "response": "", "thinking": word, "done": False} for word in ("a ", "b")),
            *_WORDS,
            {**_HEAD, "response": "", **_END, "eval_count": 5, "thinking_count": 2},
        ],
        _PROMPT,
        kind=NDJSON,
        thinks=True,
    ),
    Transcript(_GENERATE, {**_HEAD, "response": "", "done": True, "done_reason": "load"}, {"model": MODEL}),
    *(
        Transcript(
            _GENERATE,
            {**_HEAD, "response": "", "done": True, "done_reason": "unload"},
            {"model": MODEL, "keep_alive": now},
        )
        for now in (0, "0", "0s")
    ),
    Transcript(
        _GENERATE,
        {**_HEAD, "response": "", "done": False, "_debug_info": {"rendered_template": f"rendered by {MODEL}"}},
        _PROMPT | {"_debug_render_only": True},
    ),
    *_names(_GENERATE, {"prompt": "p"}, (404, "model '' not found"), "model 'nope' not found"),
    _refused(_GENERATE, "invalid character 'x' looking for beginning of object key string", b"{x"),
    _refused(_GENERATE, "unexpected EOF", b'{"model":'),
    _refused(
        _GENERATE,
        "json: cannot unmarshal string into Go struct field GenerateRequest.stream of type bool",
        {"model": MODEL, "stream": "x"},
    ),
    _refused(
        _GENERATE, "raw mode does not support template, system, or context", _PROMPT | {"raw": True, "system": "s"}
    ),
    _refused(
        _GENERATE,
        'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)',
        _PROMPT | {"think": "x"},
    ),
    _refused(_GENERATE, f'"{MODEL}" does not support thinking', _PROMPT | {"think": True}),
    _refused(_GENERATE, "top_logprobs must be between 0 and 20", _PROMPT | {"top_logprobs": 21}),
    _refused(_GENERATE, "illegal base64 data at input byte 0", _PROMPT | {"images": ["*"]}),
    _refused(_GENERATE, f"registry.ollama.ai/library/{MODEL} does not support vision", _PROMPT | {"images": ["aGk="]}),
    _refused(
        _GENERATE,
        'invalid format: "xml"; expected "json" or a valid JSON Schema object',
        _PROMPT | {"format": "xml"},
        500,
    ),
    *(
        _refused(_GENERATE, message, _PROMPT | {"keep_alive": value})
        for value, message in (
            ("-1", 'time: missing unit in duration "-1"'),
            ("300", 'time: missing unit in duration "300"'),
            ("x", 'time: invalid duration "x"'),
            ([], "Unsupported type: '[]interface {}'"),
            ({}, "Unsupported type: 'map[string]interface {}'"),
            (True, "Unsupported type: 'bool'"),
        )
    ),
    Transcript(_GENERATE, [_WORDS[0], {"error": str}], _PROMPT, kind=NDJSON, fails=True),
    Transcript(_GENERATE, {"error": str}, _PROMPT | {"stream": False}, status=500, fails=True),
]

_CHAT = "POST /api/chat"
_TALK = {"model": MODEL, "messages": HI, "options": FEW}
_PIECES = [{**_HEAD, "message": _said(word), "done": False} for word in ("t0 ", "t1 ", "t2 ")]
_LAST = {**_HEAD, "message": _said(""), "done": True, "done_reason": "stop", **_STATS}
_CALLED = {"id": "call_abcd1234", "function": {"index": 0, "name": "weather", "arguments": {"place": "Rome"}}}
CHATTED: Final = Transcript(_CHAT, _LAST | {"message": _said("t0 t1 t2 ")}, _TALK | {"stream": False})
CHAT: Final = [
    CHATTED,
    Transcript(_CHAT, [*_PIECES, _LAST], _TALK, kind=NDJSON),
    Transcript(
        _CHAT,
        [*_PIECES, {**_HEAD, "message": _said("") | {"tool_calls": [_CALLED]}, "done": False}, _LAST],
        _TALK | {"tools": [TOOL]},
        kind=NDJSON,
        calls=True,
    ),
    Transcript(
        _CHAT,
        {
            **_LAST,
            "message": _said("t0 t1 t2 ") | {"thinking": "a b"},
            "eval_count": 5,
            "thinking_count": 2,
        },
        _TALK | {"stream": False},
        thinks=True,
    ),
    Transcript(_CHAT, {**_HEAD, "message": _said(""), "done": True, "done_reason": "load"}, {"model": MODEL}),
    Transcript(
        _CHAT,
        {**_HEAD, "message": _said(""), "done": True, "done_reason": "unload"},
        {"model": MODEL, "messages": [], "keep_alive": 0},
    ),
    Transcript(
        _CHAT,
        {
            **_HEAD,
            "message": {"role": "", "content": ""},
            "done": False,
            "_debug_info": {"rendered_template": f"rendered by {MODEL}"},
        },
        _TALK | {"_debug_render_only": True},
    ),
    *_names(_CHAT, {"messages": HI}, (400, "model is required"), "model 'nope' not found"),
    _refused(
        _CHAT,
        "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
        _TALK | {"messages": [{"role": "user", "content": []}]},
    ),
    _refused(_CHAT, f"registry.ollama.ai/library/{MODEL} does not support tools", _TALK | {"tools": [TOOL]}),
    Transcript(_CHAT, [_PIECES[0], {"error": str}], _TALK, kind=NDJSON, fails=True),
]

_TRY_PULLING = 'model "nope" not found, try pulling it first'
_POOLED = {"total_duration": 5, "load_duration": 1, "prompt_eval_count": 2}
EMBEDDED: Final = Transcript(
    "POST /api/embed",
    {"model": MODEL, "embeddings": [[1.0, 0.5], [1.0, 0.5]], **_POOLED},
    {"model": MODEL, "input": ["a", "b"], "dimensions": 2},
)
TEXTS: Final = [
    EMBEDDED,
    Transcript(
        "POST /api/embed",
        {"model": MODEL, "embeddings": [], "total_duration": 5, "load_duration": 1},
        {"model": MODEL, "input": ""},
    ),
    *_names("POST /api/embed", {"input": "a"}, (404, "model '' not found"), _TRY_PULLING),
    _refused("POST /api/embed", "invalid input type", {"model": MODEL, "input": [1]}),
    Transcript("POST /api/embeddings", {"embedding": [2.0, 0.5, 0.5]}, {"model": MODEL, "prompt": "hi"}),
    Transcript("POST /api/embeddings", {"embedding": []}, {"model": MODEL, "prompt": ""}),
    *_names("POST /api/embeddings", {"prompt": "a"}, (400, "model is required"), _TRY_PULLING),
    Transcript(
        "POST /api/rerank",
        {
            "model": MODEL,
            "results": [
                {"index": 1, "document": "bb", "relevance_score": 2.0},
                {"index": 0, "document": "a", "relevance_score": 1.0},
            ],
            **_POOLED,
            "prompt_eval_count": 5,
        },
        {"model": MODEL, "query": "q", "documents": ["a", "bb"]},
    ),
    _refused("POST /api/rerank", "query is required", {"model": MODEL, "documents": ["a"]}),
    Transcript(
        "POST /api/tokenize",
        {"model": MODEL, "tokens": [97, 98], "count": 2, "total_duration": 5, "load_duration": 1},
        {"model": MODEL, "content": "ab"},
    ),
    _refused("POST /api/tokenize", "content or messages is required, and not both", {"model": MODEL}),
    Transcript(
        "POST /api/detokenize",
        {"model": MODEL, "content": "ab", "total_duration": 5, "load_duration": 1},
        {"model": MODEL, "tokens": [97, 98]},
    ),
    _refused("POST /api/detokenize", "tokens is required", {"model": MODEL}),
]

_PART = {"status": "pulling 138ae27d9132", "digest": str, "total": 100}
_DONE = {"status": "success"}
JOBS: Final = [
    Transcript(
        "POST /api/pull",
        [
            {"status": "pulling manifest"},
            _PART,
            _PART | {"completed": 50},
            _PART | {"completed": 100},
            {"status": "writing manifest"},
            _DONE,
        ],
        {"model": "x"},
        kind=NDJSON,
    ),
    Transcript("POST /api/pull", _DONE, {"name": "x", "stream": False}, kind=JSON),
    _refused("POST /api/pull", "missing request body"),
    _refused("POST /api/pull", "invalid model name", {"model": ""}),
    Transcript(
        "POST /api/push",
        [
            {"status": "retrieving manifest"},
            {"status": str, "digest": str, "total": 100, "completed": 100},
            {"status": "pushing manifest"},
            _DONE,
        ],
        {"model": MODEL},
        kind=NDJSON,
    ),
    Transcript("POST /api/push", _DONE, {"model": MODEL, "stream": False}, kind=JSON),
    _refused("POST /api/push", "model is required", {"model": ""}),
    Transcript(
        "POST /api/create",
        [{"status": f"using existing layer sha256:{'0' * 64}"}, {"status": "writing manifest"}, _DONE],
        {"model": "mine", "from": MODEL},
        kind=NDJSON,
    ),
    Transcript(
        "POST /api/create",
        _DONE,
        {"name": "mario", "modelfile": f"FROM {MODEL}\nSYSTEM You are mario", "stream": False},
        kind=JSON,
    ),
    _refused("POST /api/create", "missing request body"),
    _refused("POST /api/create", "invalid model name", {"model": "a//b", "from": MODEL}),
    _refused("POST /api/create", "neither 'from' or 'files' was specified", {"model": "x"}),
    _refused("POST /api/create", "file path must be relative", {"model": "x", "files": {"../a": "sha256:0"}}),
    _refused("POST /api/create", "invalid digest format", {"model": "x", "files": {"a": "sha256:0"}}),
    _refused("POST /api/create", "no FROM line", {"model": "x", "modelfile": "SYSTEM y"}),
    Transcript("POST /api/blobs/{digest}", None, b"hello", f"/api/blobs/sha256:{_HELLO}", 201, kind=""),
    Transcript("HEAD /api/blobs/{digest}", None, None, f"/api/blobs/sha256:{_HELLO}", 404, kind=""),
    _refused("POST /api/blobs/{digest}", "invalid digest format", b"hello", path="/api/blobs/sha256:12"),
    _refused(
        "POST /api/blobs/{digest}",
        f'digest mismatch, expected "sha256:{_OTHER}", got "sha256:{_HELLO}"',
        b"hello",
        path=f"/api/blobs/sha256:{_OTHER}",
    ),
]

SERVICE: Final = [
    Transcript("GET /api/queue", {"waiting": 0, "running": 0, "requests": []}),
    Transcript("GET /api/snapshot", dict),
    Transcript("POST /api/config/reload", {"changed": [], "restart": [], "warnings": []}),
    Transcript("GET /metrics", str, kind="text/plain; version=0.0.4; charset=utf-8"),
    _refused(
        "DELETE /api/requests/{id}",
        "no request of this id can be stopped: it ended, or is none",
        None,
        404,
        "/api/requests/abc",
    ),
    Transcript(
        "GET /api/openapi.json",
        {"openapi": "3.1.0", "info": dict, "paths": dict, "components": dict, "security": list},
    ),
]

_NO_MODEL = "model 'nosuch:latest' not found"
_NOBODY: Final[Any] = {"model": "nosuch:latest"}
_FIT = {"num_ctx": int, "needs": int, "layers": 31, "on_gpu": 0, "fits": bool}
UPKEEP: Final = [
    Transcript("POST /api/fits", {"fits": Many(_FIT)}, {"model": MODEL}),
    _refused("POST /api/fits", _NO_MODEL, _NOBODY, 404),
    Transcript(
        "POST /api/plan/load",
        {"model": MODEL, "needs": 220_000_000, "evicts": [], "stays": [], "in_memory": True, "has_room": True},
        {"model": MODEL},
    ),
    _refused("POST /api/plan/load", _NO_MODEL, _NOBODY, 404),
    _refused("POST /api/plan/pull", "model is required", {"model": ""}),
    _refused("POST /api/plan/pull", "file does not exist", {"model": "x"}, 500),
    Transcript(
        "POST /api/plan/delete",
        {
            "models": [MODEL],
            "frees": 98_362_432,
            "keeps": 0,
            "shared_with": [],
            "in_memory": [MODEL],
            "shared_with_trash": [],
            "kept_s": 0.0,
        },
        {"models": [MODEL]},
    ),
    _refused("POST /api/plan/delete", "models is required", {"models": []}),
    _refused("POST /api/plan/delete", _NO_MODEL, {"models": [MODEL, "nosuch:latest"]}, 404),
    Transcript("GET /api/pulls", {"pulls": []}),
    Transcript("DELETE /api/pulls", {"freed": 0}, {"model": "x"}),
    _refused("DELETE /api/pulls", "model is required", {"model": ""}),
    Transcript(
        "POST /api/verify",
        [{"status": "verifying", "digest": "verify", "total": 100, "completed": 100}, _DONE],
        {"model": MODEL},
        kind=NDJSON,
    ),
    Transcript("POST /api/verify", _DONE, {"model": MODEL, "stream": False}, kind=JSON),
    _refused("POST /api/verify", _NO_MODEL, _NOBODY, 404),
    Transcript("GET /api/orphans", {"files": 3, "frees": 20_900_000_000, "trash": [], "trash_frees": 0}),
    Transcript("DELETE /api/orphans", {"freed": 20_900_000_000}),
    Transcript("POST /api/trash", {"models": [MODEL]}, {"models": [MODEL]}),
    _refused("POST /api/trash", "models is required", {"models": []}),
    _refused("POST /api/trash", _NO_MODEL, {"models": [MODEL, "nosuch:latest"]}, 404),
    Transcript("POST /api/trash/restore", {"models": []}),
    Transcript("POST /api/pin", {"model": MODEL, "pinned": True}, {"model": MODEL}),
    _refused("POST /api/pin", _NO_MODEL, _NOBODY, 404),
    Transcript(
        "GET /api/config",
        {"settings": Many({"name": str, "value": str, "origin": str, "live": bool, "about": str})},
    ),
    Transcript(
        "POST /api/config",
        {"changed": ["keep_alive"], "restart": [], "warnings": []},
        {"name": "keep_alive", "value": "10m"},
    ),
    _refused("POST /api/config", "name is required", {"value": "10m"}),
    _refused("POST /api/config", "there is no setting nosuch", {"name": "nosuch", "value": "1"}),
]

NATIVE: Final = [*ABOUT, *MODELS, *GENERATE, *CHAT, *TEXTS, *JOBS, *SERVICE, *UPKEEP]
