"""Which registries there are for this user, and as whom they are asked. Part of the settings, so light to import."""

from __future__ import annotations

from pathlib import Path

import msgspec

from corral.store.names import DEFAULT_HOST, ModelName

DEFAULT_HUB = "https://huggingface.co"
HUB_HOSTS = frozenset({"hf.co", "huggingface.co"})


class Identity(msgspec.Struct, frozen=True):
    """Where the user's credentials lie: the folder of the Ollama key, and docker's `config.json`; None: nowhere."""

    keys: Path | None = None
    docker_config: Path | None = None


class Mirror(msgspec.Struct, frozen=True):
    """Another place that has the models of the registry `host`; `url` with its scheme, without a path."""

    host: str
    url: str


class Hub(msgspec.Struct, frozen=True):
    """Where Hugging Face's file API is, and who we are there: a token, else the file that has one."""

    url: str = DEFAULT_HUB
    token: str = ""
    token_file: Path | None = None

    def __repr__(self) -> str:
        return f"Hub(url={self.url!r}, token_file={self.token_file!r})"  # a traceback shows nobody the token


class Registries(msgspec.Struct, frozen=True):
    """Which registries are asked, and as whom.

    `default` stands in for registry.ollama.ai where it is set; `mirrors` are asked before the registry they are for.
    """

    default: str = ""
    mirrors: tuple[Mirror, ...] = ()
    identity: Identity = msgspec.field(default_factory=Identity)
    hub: Hub = msgspec.field(default_factory=Hub)

    def bases(self, name: ModelName, scheme: str) -> tuple[str, ...]:
        """The addresses to ask for a model, in order."""
        host = name.host.lower()
        own = self.default if host == DEFAULT_HOST and self.default else f"{scheme}://{name.host}"
        if host in HUB_HOSTS and self.hub.url != DEFAULT_HUB:
            own = self.hub.url
        return (*(mirror.url for mirror in self.mirrors if mirror.host.lower() == host), own)

    def trusts(self, base: str) -> bool:
        """Whether the user has named this address in the settings, so that it may be without encryption."""
        return base in (self.default, self.hub.url) or any(base == mirror.url for mirror in self.mirrors)
