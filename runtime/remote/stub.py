"""Models that are nothing but the address of an engine elsewhere: how they are made and read (spec a.12, a.18)."""

from __future__ import annotations

from collections.abc import Mapping

from corral.runtime.errors import BadRequest
from corral.runtime.remote.address import Remote, parse_hosts
from corral.runtime.verbs import CreateRequest
from corral.store.errors import BrokenManifest
from corral.store.manifests import ModelConfig

_LARGEST = 2**53


def check_stub(request: CreateRequest) -> None:
    """Refuse what only weights could have. Raises BadRequest."""
    if request.draft_files:
        raise BadRequest("DRAFT cannot be used with remote models")
    if not request.base:
        raise BadRequest("neither 'from' or 'files' was specified")
    if request.files or request.adapters or request.quantize:
        raise BadRequest("a remote model has no files here: no 'files', 'adapters' and 'quantize'")


def stub_config(request: CreateRequest) -> ModelConfig:
    """Return the config of the model that `request` describes; `info` holds what is known of the one it stands for.

    Raises:
        BadRequest: an address or a field that is none.
    """
    info = request.info
    family = _text(info, "model_family")
    return ModelConfig(
        remote_host=",".join(parse_hosts(request.remote_host)),
        remote_model=request.base or "",
        model_family=family,
        model_families=(family,) if family else None,
        model_type=_text(info, "parameter_size"),
        file_type=_text(info, "quantization_level"),
        base_name=_text(info, "base_name"),
        capabilities=_capabilities(info),
        context_length=_number(info, "context_length"),
        embedding_length=_number(info, "embedding_length"),
    )


def remote_of(config: ModelConfig) -> Remote | None:
    """Where a model's engine is, None where it is here (spec h.2).

    Raises:
        BrokenManifest: the config names what is no address.
    """
    if not (config.remote_host and config.remote_model):
        return None
    try:
        return Remote(parse_hosts(config.remote_host), config.remote_model)
    except BadRequest:
        raise BrokenManifest(f"its remote host cannot be read: {config.remote_host[:100]!r}") from None


def stub_capabilities(config: ModelConfig) -> tuple[str, ...]:
    """What a model elsewhere is said to do; where nothing is said it completes text, and its server knows the rest."""
    return config.capabilities or ("completion",)


def stub_info(config: ModelConfig) -> dict[str, object]:
    """What `show` tells in place of a header, for a model elsewhere (spec a.12)."""
    family = config.model_family
    if not family:
        return {}
    told = {
        "general.architecture": family,
        "general.basename": config.base_name,
        f"{family}.context_length": config.context_length,
        f"{family}.embedding_length": config.embedding_length,
    }
    return {key: value for key, value in told.items() if value}


def _text(info: Mapping[str, object], name: str) -> str:
    value = info.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f'info field "{name}" must be a string')
    return value


def _number(info: Mapping[str, object], name: str) -> int:
    value = info.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LARGEST:
        raise BadRequest(f'info field "{name}" must be a number')
    return int(value)


def _capabilities(info: Mapping[str, object]) -> tuple[str, ...] | None:
    value = info.get("capabilities") or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadRequest('info field "capabilities" must be a list of strings')
    return tuple(map(str, value)) or None
