"""Every setting, read once from the environment: `CORRAL_X` wins over `OLLAMA_X` (spec e).

The rules of parsing are Ollama's, so that an environment that works there works here. A plain dataclass and not
pydantic-settings: importing that takes 200 ms, more than `corral list` may take as a whole.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from corral.runtime.discovery import gguf_folders, hub_of, parse_aliases, paths_of
from corral.runtime.durations import parse_setting
from corral.runtime.errors import BadRequest, InvalidOption, InvalidParameter
from corral.runtime.load_options import kv_types
from corral.runtime.memory import WHOLE_KV_TYPES
from corral.runtime.options import OPTIONS, Kind, parse_options, parse_parameters
from corral.store.addresses import origin_of
from corral.store.errors import SourceError
from corral.store.folders import GgufFolder
from corral.store.paths import default_root
from corral.store.registries import Identity, Mirror, Registries

DEFAULT_PORT = 11434
LOG_FORMATS = ("logfmt", "json")
DEFAULT_PROMPT_CACHE = 256 * 10**6
LOAD_OPTIONS = tuple(
    option
    for option in OPTIONS.values()
    if option.loads and option.name not in {"num_ctx", "flash_attention", "kv_cache_type"}
)
"""Options that can be set for all models; the three left out have Ollama's variables."""


class Variable(NamedTuple):
    """A setting as `--help` lists it, without its `CORRAL_`/`OLLAMA_` prefix."""

    name: str
    description: str


VARIABLES = (
    Variable("HOST", "Address of the server, to listen on or to talk to (default 127.0.0.1:11434)"),
    Variable("MODELS", "Folder of the models (default ~/.ollama/models)"),
    Variable("MODELS_EXTRA", "Further folders of models, which are only read; separated as in PATH (CORRAL_... only)"),
    Variable("DISCOVER", "Show GGUF files of Hugging Face, LM Studio and llama.cpp; 0: don't (CORRAL_... only)"),
    Variable("GGUF_FOLDERS", "Further folders of GGUF files to show, separated as in PATH (CORRAL_... only)"),
    Variable("ALIASES", "Further names for models, as gpt-4=smollm2, ... (CORRAL_... only)"),
    Variable("KEEP_ALIVE", "How long a model stays in memory (default 5m)"),
    Variable("CONTEXT_LENGTH", "Context length unless a request or model says another (default 4096)"),
    Variable("NUM_PARALLEL", "Requests one model serves at the same time (default 4)"),
    Variable("MAX_LOADED_MODELS", "Models in memory at the same time (default 3)"),
    Variable("MAX_QUEUE", "Requests that may wait (default 512)"),
    Variable("LOAD_TIMEOUT", "How long a load may stand still before it is given up (default 5m)"),
    Variable("ORIGINS", "Further origins allowed to call from a browser, comma separated"),
    Variable("FLASH_ATTENTION", "Flash attention on, off or auto (default: as the model allows)"),
    Variable("KV_CACHE_TYPE", "Type of the key-value cache: f16, q8_0, q4_0 and others, or keys,values (default f16)"),
    Variable("SCHED_SPREAD", "Share every model among all GPUs, also one that fits on a single one"),
    Variable("PROMPT_CACHE", "Disk space for prompts that unloaded models have read (default 256MB, 0: none)"),
    Variable("REGISTRY", "Registry for names that say none (default https://registry.ollama.ai; CORRAL_... only)"),
    Variable("MIRRORS", "Places to ask before a registry, as hf.co=http://10.0.0.5:5000, ... (CORRAL_... only)"),
    Variable("LIMIT_RATE", "How fast models are fetched at most, per second, as in 10MB (CORRAL_... only)"),
    Variable("REMOTES", "Servers that models may have their engine on, host or host:port, comma separated"),
    Variable("REMOTE_KEYS", "Keys for such servers, as 10.0.0.5:8000=key, ... (CORRAL_REMOTE_KEYS only)"),
    Variable("RPC_SERVERS", "llama.cpp's RPC workers to share every model with, host:port, ... (CORRAL_... only)"),
    Variable("NOHISTORY", "Keep no history of prompts"),
    Variable("NOPRUNE", "Keep blobs that no model uses when a model is replaced or removed"),
    Variable("DEBUG", "More in the log: 1 debug, 2 trace; less: -1 warnings, -2 errors"),
    Variable("LOG_FORMAT", "Form of the log's lines, logfmt or json (CORRAL_LOG_FORMAT only; default logfmt)"),
    Variable("STRICT", "Refuse requests that would be answered with a warning (CORRAL_STRICT only)"),
    Variable("API_KEY", "Keys, comma separated, of which every request must bring one (CORRAL_API_KEY only)"),
    Variable("ALLOW_ANONYMOUS", "Listen on a non-loopback address without a key (CORRAL_ALLOW_ANONYMOUS only)"),
    *(
        Variable(option.name.upper(), f"{option.text[0].upper()}{option.text[1:]} (CORRAL_... only)")
        for option in LOAD_OPTIONS
    ),
)

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*((?P<unit>[kmgt])(?P<binary>i)?)?b?")

_OURS_ALONE = frozenset(
    {
        "API_KEY",
        "ALLOW_ANONYMOUS",
        "LOG_FORMAT",
        "STRICT",
        "REGISTRY",
        "MIRRORS",
        "LIMIT_RATE",
        "REMOTE_KEYS",
        "RPC_SERVERS",
        "MODELS_EXTRA",
        "DISCOVER",
        "GGUF_FOLDERS",
        "ALIASES",
        *(option.name.upper() for option in LOAD_OPTIONS),
    }
)
"""`OLLAMA_API_KEY` is the user's token for a cloud service; to demand it of our own clients would lock them out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for this process. Times in seconds; 0 in a count means automatic. `warnings` name bad values.

    `models_extra` and `gguf_folders` are read and never written; `aliases` are further names by model.
    `kv_cache_type` is one type, or two for keys and values. `load_options` hold unless a request or a model says
    otherwise. `remotes` and the lines of `remotes_file` are the servers that models may have their engine on,
    `remote_keys` the key of each; `rpc_servers` are llama.cpp's workers. `strict` refuses what would be answered with a
    warning. `api_key` is as it was given; see `api_keys`.
    """

    models: Path
    listen_host: str = "127.0.0.1"
    listen_port: int = DEFAULT_PORT
    base_url: str = f"http://127.0.0.1:{DEFAULT_PORT}"
    keep_alive_s: float = 300.0
    load_timeout_s: float = 300.0
    num_parallel: int = 4
    context_length: int = 0
    max_queue: int = 512
    max_loaded_models: int = 3
    origins: tuple[str, ...] = ()
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    prompt_cache: Path | None = None
    prompt_cache_bytes: int = 0
    sched_spread: bool = False
    load_options: Mapping[str, object] = field(default_factory=dict)
    no_history: bool = False
    no_prune: bool = False
    registries: Registries = field(default_factory=Registries)
    limit_rate: int = 0
    debug: int = 0
    api_key: str = ""
    allow_anonymous: bool = False
    strict: bool = False
    log_format: str = "logfmt"
    remotes: tuple[str, ...] = ()
    remotes_file: Path | None = None
    remote_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    rpc_servers: tuple[str, ...] = ()
    models_extra: tuple[Path, ...] = ()
    gguf_folders: tuple[GgufFolder, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every key that opens the API; a client of ours brings the first."""
        return tuple(key.strip() for key in self.api_key.split(",") if key.strip())

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.listen_host)


def is_loopback(host: str) -> bool:
    """Say whether an address or host name means this machine alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Environment:
    """Looks variables up under both prefixes and collects what could not be read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        prefixes = ("CORRAL_",) if name in _OURS_ALONE else ("CORRAL_", "OLLAMA_")
        for prefix in prefixes:
            value = self._environ.get(prefix + name, "").strip().strip("'\"")
            if value:
                return value
        return ""

    def flag(self, name: str) -> bool | None:
        value = self.text(name)
        if not value:
            return None
        return value not in {"0", "f", "F", "false", "FALSE", "False"}

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if value.isascii() and value.isdigit():
            return int(value)
        self.warnings.append(f"invalid {name} {value!r}, using {default}")
        return default

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words; the first by default."""
        value = self.text(name).lower()
        if value and value not in choices:
            self.warnings.append(f"invalid {name} {value!r}, using {choices[0]}")
        return value if value in choices else choices[0]

    def size(self, name: str, default: int) -> int:
        """Bytes: a number with or without a unit."""
        value = self.text(name)
        if not value:
            return default
        size = parse_size(value)
        if size is None:
            self.warnings.append(f"invalid {name} {value!r}, using {default // 10**6}MB")
            return default
        return size

    def seconds(self, name: str, default: float) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            return parse_setting(value)
        except BadRequest as error:
            self.warnings.append(f"invalid {name} {value!r} ({error}), using {default:g} seconds")
            return default


def parse_size(text: str) -> int | None:
    """Read a count of bytes: a number with or without a unit (`10MB`, `1.5g`, `4MiB`); None for anything else."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        return None
    power = " kmgt".index(found["unit"] or " ")
    return int(float(found["number"]) * (1024 if found["binary"] else 1000) ** power)


class Address(NamedTuple):
    """Where a server is: `url` is what a client calls."""

    host: str
    port: int
    url: str


def parse_host(text: str, warn: Callable[[str], None]) -> Address:
    """Read `[scheme://]host[:port][/path]` as Ollama does; a bad port becomes the default, with a warning."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    default_port = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT) if separator else DEFAULT_PORT
    rest, slash, path = rest.partition("/")
    host, port = _split_port(rest, default_port, warn)
    host = host or "127.0.0.1"
    if not separator and host == "ollama.com":
        scheme, port = "https", 443
    called = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{called}]" if ":" in called else called
    return Address(host, port, f"{scheme}://{shown}:{port}" + (slash + path).rstrip("/"))


def _split_port(text: str, default: int, warn: Callable[[str], None]) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not port:
        return host, default
    if port.isascii() and port.isdigit() and int(port) <= 65535:
        return host, int(port)
    warn(f"invalid port {port!r}, using {default}")
    return host, default


def load(environ: Mapping[str, str], home: Path) -> Settings:
    """Read the settings. Never fails: what cannot be read keeps its default and is named in `warnings`."""
    env = _Environment(environ)
    address = parse_host(env.text("HOST") or "127.0.0.1", env.warnings.append)
    debug_text = env.text("DEBUG")
    debug = int(debug_text) if debug_text.lstrip("-").isdigit() else int(bool(env.flag("DEBUG")))
    flash, kv_cache_type = _attention(env)
    models = env.text("MODELS")
    aliases, no_aliases = parse_aliases(env.text("ALIASES"))
    env.warnings += [f"invalid ALIASES {part!r}, passing it over: it is written alias=model" for part in no_aliases]
    return Settings(
        models=Path(models).expanduser() if models else default_root({}, home),
        models_extra=paths_of(env.text("MODELS_EXTRA"), home),
        gguf_folders=gguf_folders(environ, home, env.text("GGUF_FOLDERS"), discover=env.flag("DISCOVER") is not False),
        aliases=aliases,
        listen_host=address.host,
        listen_port=address.port,
        base_url=address.url,
        keep_alive_s=env.seconds("KEEP_ALIVE", 300.0),
        load_timeout_s=env.seconds("LOAD_TIMEOUT", 300.0),
        num_parallel=max(1, env.number("NUM_PARALLEL", 4)),
        context_length=env.number("CONTEXT_LENGTH", 0),
        max_queue=max(1, env.number("MAX_QUEUE", 512)),
        max_loaded_models=env.number("MAX_LOADED_MODELS", 3) or 3,
        origins=tuple(part.strip() for part in env.text("ORIGINS").split(",") if part.strip()),
        flash_attention=flash,
        kv_cache_type=kv_cache_type,
        prompt_cache=Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "corral" / "sequences",
        prompt_cache_bytes=env.size("PROMPT_CACHE", DEFAULT_PROMPT_CACHE),
        sched_spread=bool(env.flag("SCHED_SPREAD")),
        load_options=_load_options(env),
        no_history=bool(env.flag("NOHISTORY")),
        no_prune=bool(env.flag("NOPRUNE")),
        registries=_registries(env, environ, home),
        limit_rate=env.size("LIMIT_RATE", 0),
        debug=debug,
        api_key=env.text("API_KEY"),
        allow_anonymous=bool(env.flag("ALLOW_ANONYMOUS")),
        strict=bool(env.flag("STRICT")),
        log_format=env.choice("LOG_FORMAT", LOG_FORMATS),
        remotes=_parts(env.text("REMOTES")),
        remotes_file=Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "corral" / "remotes",
        remote_keys=_remote_keys(env),
        rpc_servers=_parts(env.text("RPC_SERVERS")),
        warnings=tuple(env.warnings),
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _remote_keys(env: _Environment) -> tuple[tuple[str, str], ...]:
    """Read which key goes to which server. What cannot be read is not repeated: it may be a key."""
    keys = []
    for part in _parts(env.text("REMOTE_KEYS")):
        host, equals, key = part.partition("=")
        if equals and host.strip() and key.strip() and key.isprintable():
            keys.append((host.strip().lower(), key.strip()))
        else:
            env.warnings.append("invalid REMOTE_KEYS, passing over a part: it is written host=key")
    return tuple(keys)


def _registries(env: _Environment, environ: Mapping[str, str], home: Path) -> Registries:
    """Read which registries are asked; the credentials lie where Ollama and docker keep them."""
    default = _base_url(env, "REGISTRY", env.text("REGISTRY"))
    mirrors = []
    for part in filter(None, map(str.strip, env.text("MIRRORS").split(","))):
        host, _, text = part.partition("=")
        url = _base_url(env, "MIRRORS", text.strip() or part)
        if url and text.strip():
            mirrors.append(Mirror(host.strip(), url))
        elif url:
            env.warnings.append(f"invalid MIRRORS {part!r}, passing it over: it is written registry=address")
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    return Registries(default, tuple(mirrors), Identity(home / ".ollama", docker), hub_of(environ, home))


def _base_url(env: _Environment, name: str, text: str) -> str:
    """Read the address of a registry, https unless it says so; "" where there is none."""
    url = (text if "://" in text else f"https://{text}").rstrip("/")
    try:
        scheme, host, _ = origin_of(url)
    except SourceError:
        if text:
            env.warnings.append(f"invalid {name} {text!r}, passing it over")
        return ""
    return url if scheme and host and url.count("/") == 2 else ""


def _attention(env: _Environment) -> tuple[bool | None, str]:
    """Read whether to use flash attention, and the type of the cache, which can keep the values so only with it."""
    text = env.text("FLASH_ATTENTION")
    flash = None if text.lower() == "auto" else False if text.lower() == "off" else env.flag("FLASH_ATTENTION")
    kv_cache_type = env.text("KV_CACHE_TYPE").lower() or "f16"
    try:
        types = kv_types(kv_cache_type)
    except ValueError:
        env.warnings.append(f"invalid KV_CACHE_TYPE {kv_cache_type!r}, using f16")
        return flash, "f16"
    if flash is False and types.values not in WHOLE_KV_TYPES:
        env.warnings.append(f"KV_CACHE_TYPE {kv_cache_type!r} needs FLASH_ATTENTION, which is off: using f16")
        return flash, "f16"
    return flash, kv_cache_type


def _load_options(env: _Environment) -> dict[str, object]:
    """Read the options that have a variable of their own; a list is separated by commas, as llama-server's `-ot`."""
    found: dict[str, object] = {}
    for option in LOAD_OPTIONS:
        text = env.text(option.name.upper())
        if not text:
            continue
        parts = text.split(",") if option.kind is Kind.STRINGS else [text]
        try:
            values = parse_parameters([(option.name, part.strip()) for part in parts])
            parse_options(values)
        except (InvalidParameter, InvalidOption) as error:
            env.warnings.append(f"invalid {option.name.upper()} {text!r}, passing it over: {error}")
            continue
        found |= values
    return found
