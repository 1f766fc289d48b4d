"""The one registry of settings: what each is called, what it is, what holds without it.

A setting `X` is read from `CORRAL_X`, then `OLLAMA_X` unless it is ours alone, then `x` in `config.toml`. `--help`,
`corral config`, the check of that file and `docs/configuration.md` read this.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from corral.runtime import options
from corral.runtime.options import OPTIONS


class Kind(StrEnum):
    """What a setting is, in the words a mistake in the file is told in."""

    TEXT = "a text"
    FLAG = "true or false"
    NUMBER = "a whole number"
    SIZE = "a number of bytes, or a text such as 10MB"
    TIME = "seconds, or a text such as 5m"
    LIST = "a text, or a list of texts"
    FOLDERS = "a folder, or a list of folders"
    LEVEL = "true, false or a whole number"
    SWITCH = "true, false or a text"
    MAP = "a table of texts"


class Variable(NamedTuple):
    """A setting without its prefix. `default` is for a reader, `ours` says that there is no `OLLAMA_` form of it.

    A `secret` is never shown. `in_file` is false for what the file cannot say.
    """

    name: str
    description: str
    kind: Kind = Kind.TEXT
    default: str = ""
    ours: bool = False
    secret: bool = False
    in_file: bool = True


LOAD_OPTIONS = tuple(
    option
    for option in OPTIONS.values()
    if option.loads and option.name not in {"num_ctx", "flash_attention", "kv_cache_type"}
)
"""Options that can be set for all models; the three left out have Ollama's variables."""

_KINDS = {
    options.Kind.INT: Kind.NUMBER,
    options.Kind.BOOL: Kind.FLAG,
    options.Kind.TEXT: Kind.TEXT,
    options.Kind.STRINGS: Kind.LIST,
}

VARIABLES = (
    Variable("HOST", "Address of the server, to listen on or to talk to", default="127.0.0.1:11434"),
    Variable("PORT", "Port of that address, where HOST names none", Kind.NUMBER, "11434"),
    Variable("MODELS", "Folder of the models", default="~/.ollama/models"),
    Variable(
        "MODELS_EXTRA",
        "Further folders of models, which are only read; separated as in PATH",
        Kind.FOLDERS,
        ours=True,
    ),
    Variable(
        "DISCOVER", "Show GGUF files of Hugging Face, LM Studio and llama.cpp; 0: don't", Kind.FLAG, "1", ours=True
    ),
    Variable("GGUF_FOLDERS", "Further folders of GGUF files to show, separated as in PATH", Kind.FOLDERS, ours=True),
    Variable("ALIASES", "Further names for models, as gpt-4=smollm2, ...", Kind.MAP, ours=True),
    Variable("CONFIG", "File of settings", default="~/.config/corral/config.toml", ours=True, in_file=False),
    Variable("KEEP_ALIVE", "How long a model stays in memory", Kind.TIME, "5m"),
    Variable(
        "CONTEXT_LENGTH", "Context length unless a request or model says another", Kind.NUMBER, "by the GPUs' memory"
    ),
    Variable("NUM_PARALLEL", "Requests one model serves at the same time", Kind.NUMBER, "4"),
    Variable("MAX_LOADED_MODELS", "Models in memory at the same time", Kind.NUMBER, "3, or 3 a GPU"),
    Variable("MAX_QUEUE", "Requests that may wait", Kind.NUMBER, "512"),
    Variable("LOAD_TIMEOUT", "How long a load may stand still before it is given up; 0: for ever", Kind.TIME, "5m"),
    Variable("ORIGINS", "Further origins allowed to call from a browser, comma separated", Kind.LIST),
    Variable("FLASH_ATTENTION", "Flash attention on, off or auto", Kind.SWITCH, "as the model allows"),
    Variable("KV_CACHE_TYPE", "Type of the key-value cache: f16, q8_0, q4_0 and others, or keys,values", default="f16"),
    Variable("GPU_OVERHEAD", "Memory of each GPU that is left to others", Kind.SIZE, "0"),
    Variable("SCHED_SPREAD", "Share every model among all GPUs, also one that fits on a single one", Kind.FLAG),
    Variable("PROMPT_CACHE", "Disk space for prompts that unloaded models have read; 0: none", Kind.SIZE, "256MB"),
    Variable("GO_TEMPLATE", "0: render chats by the models' own Jinja templates, not by TEMPLATE", Kind.FLAG, "1"),
    Variable("REGISTRY", "Registry for names that say none", default="https://registry.ollama.ai", ours=True),
    Variable("MIRRORS", "Places to ask before a registry, as hf.co=http://10.0.0.5:5000, ...", Kind.LIST, ours=True),
    Variable("LIMIT_RATE", "How fast models are fetched at most, per second, as in 10MB", Kind.SIZE, ours=True),
    Variable("REMOTES", "Servers that models may have their engine on, host or host:port, comma separated", Kind.LIST),
    Variable("REMOTE_KEYS", "Keys for such servers, as 10.0.0.5:8000=key, ...", Kind.LIST, ours=True, secret=True),
    Variable(
        "RPC_SERVERS", "llama.cpp's RPC workers to share every model with, as host:port, ...", Kind.LIST, ours=True
    ),
    Variable("NOHISTORY", "Keep no history of prompts", Kind.FLAG),
    Variable("NOPRUNE", "Keep blobs that no model uses when a model is replaced or removed", Kind.FLAG),
    Variable(
        "TRASH",
        "How long a deletion of the workbench can be undone; 0: its space is free at once",
        Kind.TIME,
        "24h",
        ours=True,
    ),
    Variable("EDITOR", "Editor for prompts", default="VISUAL, EDITOR or vi"),
    Variable("DEBUG", "More in the log: 1 debug, 2 trace; less: -1 warnings, -2 errors", Kind.LEVEL, "0"),
    Variable(
        "DEBUG_LOG_REQUESTS", "Write the body of each request, and a curl that repeats it, to a new folder", Kind.FLAG
    ),
    Variable("LOG_FORMAT", "Form of the log's lines, logfmt or json", default="logfmt", ours=True),
    Variable("STRICT", "Refuse requests that would be answered with a warning", Kind.FLAG, ours=True),
    Variable("READ_ONLY", "Refuse requests that change which models there are", Kind.FLAG, ours=True),
    Variable("NO_CLOUD", "Refuse models whose engine is on another machine", Kind.FLAG),
    Variable(
        "API_KEY", "Keys, comma separated, of which every request must bring one", Kind.LIST, ours=True, secret=True
    ),
    Variable("ALLOW_ANONYMOUS", "Listen on a non-loopback address without a key", Kind.FLAG, ours=True),
    Variable("TLS_CERT", "File of the certificate (PEM) to serve https with", ours=True),
    Variable("TLS_KEY", "File of its private key, where that is another", ours=True),
    Variable("TLS_CA", "File of certificates that commands trust a server by", ours=True),
    *(
        Variable(option.name.upper(), f"{option.text[0].upper()}{option.text[1:]}", _KINDS[option.kind], ours=True)
        for option in LOAD_OPTIONS
    ),
)

BY_NAME = {variable.name: variable for variable in VARIABLES}

WITHOUT_EFFECT = (
    *("MULTIUSER_CACHE", "NEW_ENGINE", "INTEL_GPU", "MAX_VRAM", "TMPDIR", "RUNNERS_DIR"),
    *("IGPU_ENABLE", "VULKAN", "LLM_LIBRARY", "LIBRARY_PATH", "MAX_TRANSFER_STREAMS", "AUTH"),
    *("CLOUD_BASE_URL", "EXPERIMENT", "SKILLS", "AGENT_DISABLE_SHELL", "AGENT_DISABLE_WEBSEARCH"),
)
"""Ollama's names, old and new, of what there is none of here; taken without an error (spec e)."""

PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("GGML_VK_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "HSA_OVERRIDE_GFX_VERSION", "JETSON_JETPACK"),
)
"""Variables of others that do what they do elsewhere."""


def described(variable: Variable) -> str:
    """Write what a setting is, with what holds without it."""
    notes = [f"default {variable.default}"] if variable.default else []
    notes += ["CORRAL_... only"] if variable.ours else []
    return variable.description + (f" ({'; '.join(notes)})" if notes else "")
