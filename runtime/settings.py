"""Every setting, read once: the environment before `config.toml`, `CORRAL_X` before `OLLAMA_X` (spec e).

The rules of parsing are Ollama's, so that an environment that works there works here. A msgspec struct and not
pydantic-settings: importing that takes 200 ms, more than `corral list` may take as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from corral.runtime.config_file import find_config
from corral.runtime.discovery import gguf_folders, hub_of, parse_aliases, paths_of
from corral.runtime.durations import FOREVER
from corral.runtime.environment import Environment
from corral.runtime.errors import InvalidOption, InvalidParameter
from corral.runtime.load_options import kv_types
from corral.runtime.memory import WHOLE_KV_TYPES
from corral.runtime.model_tables import MOST_PARALLEL, ModelTable
from corral.runtime.options import Kind, parse_options, parse_parameters
from corral.runtime.server_address import DEFAULT_PORT, HIGHEST_PORT, Address, is_loopback, parse_host
from corral.runtime.setting_views import setting_views
from corral.runtime.variables import LOAD_OPTIONS
from corral.store.addresses import origin_of
from corral.store.errors import SourceError
from corral.store.folders import GgufFolder
from corral.store.paths import default_root
from corral.store.registries import Identity, Mirror, Registries

if TYPE_CHECKING:
    from corral.runtime.upkeep import SettingView

LOG_FORMATS = ("logfmt", "json")
DEFAULT_PROMPT_CACHE = 256 * 10**6
LIVE = (
    *("keep_alive_s", "context_length", "num_parallel", "flash_attention", "kv_cache_type", "sched_spread"),
    *("load_options", "gpu_overhead", "go_template", "model_tables", "aliases", "limit_rate", "trash_s"),
)
"""The fields that a running server takes over when it reads its settings again; a loaded model stays as it is."""


_UNTOLD = frozenset({"api_key", "remote_keys", "reread", "tell"})
"""What a traceback shows nobody."""
_LONGEST_TRASH_S = 100 * 365 * 86400.0
"""For ever, as a number that JSON has."""


class Settings(msgspec.Struct, frozen=True):
    """What holds for this process. Times in seconds; 0 in a count means automatic. `warnings` name bad values.

    `faults` are the mistakes in the file `config`, with which no server starts; `reread` reads everything again, `tell`
    lists it, each with the variables that were changed meanwhile.
    `model_tables` hold for single models, by their names. `gpu_overhead` are bytes of each GPU that others get.
    `cloud_source` is what clients are told of why Ollama's cloud is off (spec a.19).

    `models_extra` and `gguf_folders` are read and never written; `aliases` are further names by model.
    `kv_cache_type` is one type, or two for keys and values. `load_options` hold unless a request or a model says
    otherwise. `remotes` and the lines of `remotes_file` are the servers that models may have their engine on,
    `remote_keys` the key of each; `rpc_servers` are llama.cpp's workers. `strict` refuses what would be answered with a
    warning. `api_key` is as it was given; see `api_keys`.
    `trash_s` is how long a deletion of the workbench can be undone.
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
    max_loaded_models: int = 0
    origins: tuple[str, ...] = ()
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    prompt_cache: Path | None = None
    prompt_cache_bytes: int = 0
    sched_spread: bool = False
    load_options: Mapping[str, object] = msgspec.field(default_factory=dict)
    no_history: bool = False
    no_prune: bool = False
    trash_s: float = 86400.0
    registries: Registries = msgspec.field(default_factory=Registries)
    limit_rate: int = 0
    debug: int = 0
    api_key: str = ""
    allow_anonymous: bool = False
    strict: bool = False
    log_format: str = "logfmt"
    remotes: tuple[str, ...] = ()
    remotes_file: Path | None = None
    remote_keys: tuple[tuple[str, str], ...] = ()
    rpc_servers: tuple[str, ...] = ()
    models_extra: tuple[Path, ...] = ()
    gguf_folders: tuple[GgufFolder, ...] = ()
    aliases: Mapping[str, str] = msgspec.field(default_factory=dict)
    model_tables: Mapping[str, ModelTable] = msgspec.field(default_factory=dict)
    gpu_overhead: int = 0
    go_template: bool = True
    editor: str = ""
    log_requests: bool = False
    cloud_source: str = "config"
    read_only: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    config: Path | None = None
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    reread: Callable[[Mapping[str, str]], Settings] | None = None
    tell: Callable[[Mapping[str, str]], Sequence[SettingView]] | None = None

    def __repr__(self) -> str:
        told = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in _UNTOLD)
        return f"Settings({', '.join(told)})"

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every key that opens the API; a client of ours brings the first."""
        return tuple(key.strip() for key in self.api_key.split(",") if key.strip())

    @property
    def trusted(self) -> Path | None:
        """The certificates by which a server is known, beside the system's: those named, else our own."""
        return self.tls_ca or self.tls_cert

    @property
    def no_cloud(self) -> bool:
        """Whether the environment says that no engine on another machine is asked."""
        return self.cloud_source != "config"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.listen_host)


def load(environ: Mapping[str, str], home: Path) -> Settings:
    """Read the settings. Never fails: what cannot be read keeps its default and is named in `warnings` or `faults`."""
    file = find_config(environ, home)
    env = Environment(environ, file)
    tls_cert = _path(env, "TLS_CERT")
    address = _address(env, tls=tls_cert is not None)
    flash, kv_cache_type = _attention(env)
    aliases, no_aliases = parse_aliases(env.text("ALIASES"))
    for part in no_aliases:
        env.bad("ALIASES", part, "passing it over: it is written alias=model")
    settings = Settings(
        models=_path(env, "MODELS") or default_root({}, home),
        models_extra=paths_of(env.text("MODELS_EXTRA"), home),
        gguf_folders=gguf_folders(environ, home, env.text("GGUF_FOLDERS"), discover=env.flag("DISCOVER") is not False),
        aliases=aliases,
        listen_host=address.host,
        listen_port=address.port,
        base_url=address.url,
        keep_alive_s=env.seconds("KEEP_ALIVE", 300.0),
        load_timeout_s=env.seconds("LOAD_TIMEOUT", 300.0) or FOREVER,
        num_parallel=min(max(1, env.number("NUM_PARALLEL", 4)), MOST_PARALLEL),
        context_length=env.number("CONTEXT_LENGTH", 0),
        max_queue=max(1, env.number("MAX_QUEUE", 512)),
        max_loaded_models=env.number("MAX_LOADED_MODELS", 0),
        origins=tuple(part.strip() for part in env.text("ORIGINS").split(",") if part.strip()),
        flash_attention=flash,
        kv_cache_type=kv_cache_type,
        prompt_cache=Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "corral" / "sequences",
        prompt_cache_bytes=env.size("PROMPT_CACHE", DEFAULT_PROMPT_CACHE),
        sched_spread=bool(env.flag("SCHED_SPREAD")),
        load_options=_load_options(env),
        no_history=bool(env.flag("NOHISTORY")),
        no_prune=bool(env.flag("NOPRUNE")),
        trash_s=min(env.seconds("TRASH", 86400.0), _LONGEST_TRASH_S),
        registries=_registries(env, environ, home),
        limit_rate=env.size("LIMIT_RATE", 0),
        debug=env.level("DEBUG"),
        api_key=env.text("API_KEY"),
        allow_anonymous=bool(env.flag("ALLOW_ANONYMOUS")),
        strict=bool(env.flag("STRICT")),
        log_format=env.choice("LOG_FORMAT", LOG_FORMATS),
        remotes=_parts(env.text("REMOTES")),
        remotes_file=Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "corral" / "remotes",
        remote_keys=_remote_keys(env),
        rpc_servers=_parts(env.text("RPC_SERVERS")),
        model_tables=file.models,
        gpu_overhead=env.size("GPU_OVERHEAD", 0),
        go_template=env.flag("GO_TEMPLATE") is not False,
        editor=env.text("EDITOR"),
        log_requests=bool(env.flag("DEBUG_LOG_REQUESTS")),
        cloud_source=_cloud_source(env, home),
        read_only=bool(env.flag("READ_ONLY")),
        tls_cert=tls_cert,
        tls_key=_path(env, "TLS_KEY"),
        tls_ca=_path(env, "TLS_CA"),
        config=file.path,
        reread=lambda adjusted: load({**environ, **adjusted}, home),
        tell=partial(setting_views, environ, home),
    )
    env.note_what_has_no_effect()
    env.note_slips()
    return msgspec.structs.replace(settings, warnings=tuple(env.warnings), faults=tuple(env.faults))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _remote_keys(env: Environment) -> tuple[tuple[str, str], ...]:
    """Read which key goes to which server. What cannot be read is not repeated: it may be a key."""
    keys = []
    for part in _parts(env.text("REMOTE_KEYS")):
        host, equals, key = part.partition("=")
        if equals and host.strip() and key.strip() and key.isprintable():
            keys.append((host.strip().lower(), key.strip()))
        else:
            env.warnings.append("invalid REMOTE_KEYS, passing over a part: it is written host=key")
    return tuple(keys)


def _path(env: Environment, name: str) -> Path | None:
    text = env.text(name)
    return Path(text).expanduser() if text else None


def _address(env: Environment, *, tls: bool) -> Address:
    """Read where the server is; the port of HOST comes before PORT."""
    port = env.number("PORT", DEFAULT_PORT)
    if port > HIGHEST_PORT:
        env.bad("PORT", str(port), f"using {DEFAULT_PORT}")
        port = DEFAULT_PORT
    host = env.text("HOST") or "127.0.0.1"
    return parse_host(host, lambda message: env.complain("HOST", message), port=port, tls=tls)


def _cloud_source(env: Environment, home: Path) -> str:
    """Say who turned Ollama's cloud off, in its words. It is off here anyway, as if its file had said so."""
    if not env.flag("NO_CLOUD"):
        return "config"
    try:
        file = json.loads((home / ".ollama" / "server.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return "env"
    return "both" if isinstance(file, dict) and file.get("disable_ollama_cloud") is True else "env"


def _registries(env: Environment, environ: Mapping[str, str], home: Path) -> Registries:
    """Read which registries are asked; the credentials lie where Ollama and docker keep them."""
    default = _base_url(env, "REGISTRY", env.text("REGISTRY"))
    mirrors = []
    for part in filter(None, map(str.strip, env.text("MIRRORS").split(","))):
        host, _, text = part.partition("=")
        url = _base_url(env, "MIRRORS", text.strip() or part)
        if url and text.strip():
            mirrors.append(Mirror(host.strip(), url))
        elif url:
            env.bad("MIRRORS", part, "passing it over: it is written registry=address")
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    return Registries(default, tuple(mirrors), Identity(home / ".ollama", docker), hub_of(environ, home))


def _base_url(env: Environment, name: str, text: str) -> str:
    """Read the address of a registry, https unless it says so; "" where there is none."""
    url = (text if "://" in text else f"https://{text}").rstrip("/")
    try:
        scheme, host, _ = origin_of(url)
    except SourceError:
        if text:
            env.bad(name, text, "passing it over")
        return ""
    return url if scheme and host and url.count("/") == 2 else ""


def _attention(env: Environment) -> tuple[bool | None, str]:
    """Read whether to use flash attention, and the type of the cache, which can keep the values so only with it."""
    text = env.text("FLASH_ATTENTION")
    flash = None if text.lower() == "auto" else False if text.lower() == "off" else env.flag("FLASH_ATTENTION")
    kv_cache_type = env.text("KV_CACHE_TYPE").lower() or "f16"
    try:
        types = kv_types(kv_cache_type)
    except ValueError:
        env.bad("KV_CACHE_TYPE", kv_cache_type, "using f16")
        return flash, "f16"
    if flash is False and types.values not in WHOLE_KV_TYPES:
        message = f"KV_CACHE_TYPE {kv_cache_type!r} needs FLASH_ATTENTION, which is off: using f16"
        env.complain("KV_CACHE_TYPE", message)
        return flash, "f16"
    return flash, kv_cache_type


def _load_options(env: Environment) -> dict[str, object]:
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
            env.bad(option.name.upper(), text, f"passing it over: {error}")
            continue
        found |= values
    return found
