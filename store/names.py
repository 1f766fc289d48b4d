"""Model names and digests as types, so that no path is ever made from a plain string.

The grammar is Ollama's (spec h.3): `[scheme://][host/][namespace/]model[:tag]`.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from corral.store.errors import InvalidDigest, InvalidName

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_PARTS = {
    "host": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*\Z"), 350),
    "namespace": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z"), 80),
    "model": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z"), 80),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z"), 80),
}
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_LONGEST = 600
_LOCAL = ":local"


class ModelName(msgspec.Struct, frozen=True):
    """A full model name. Spelling is kept; compare with `key`, which ignores case.

    Raises:
        InvalidName: a part is empty, too long, or has a character it may not have.
    """

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name as a user or a client writes it.

        Raises:
            InvalidName: a part is empty, too long, or has a character it may not have.
        """
        return _parsed(text)

    def __post_init__(self) -> None:
        # Checked here and not only in `parse`: paths are made from these parts, however the name came to be.
        for kind, (pattern, longest) in _PARTS.items():
            value: str = getattr(self, kind)
            if len(value) > longest or not pattern.match(value):
                raise InvalidName(value)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two spellings of one name have in common."""
        return (self.host.casefold(), self.namespace.casefold(), self.model.casefold(), self.tag.casefold())

    @property
    def short(self) -> str:
        """The shortest spelling that still shows the tag (`smollm2:135m`)."""
        host, namespace, _, _ = self.key
        if host == DEFAULT_HOST and namespace == DEFAULT_NAMESPACE:
            return f"{self.model}:{self.tag}"
        if host == DEFAULT_HOST:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return self.full

    @property
    def full(self) -> str:
        """All four parts (`registry.ollama.ai/library/smollm2:135m`)."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __str__(self) -> str:
        return self.short


@lru_cache(maxsize=1024)
def _parsed(text: str) -> ModelName:
    # Kept, as every request names its model several times over.
    if not text or len(text) > _LONGEST:
        raise InvalidName(text)
    rest = text.split("://", 1)[1] if "://" in text else text
    tag = DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        rest, tag = rest.rsplit(":", 1)
    pieces = rest.split("/")
    if len(pieces) > 3:
        raise InvalidName(text)
    model = pieces[-1]
    namespace = pieces[-2] if len(pieces) > 1 else DEFAULT_NAMESPACE
    host = pieces[0] if len(pieces) > 2 else DEFAULT_HOST
    try:
        return ModelName(host, namespace, model, tag)
    except InvalidName:
        raise InvalidName(text) from None


class Digest(msgspec.Struct, frozen=True, order=True):
    """A sha256 digest; `hex` is 64 lower-case hexadecimal digits.

    Raises:
        InvalidDigest: `hex` is anything else.
    """

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.match(self.hex):
            raise InvalidDigest(self.hex)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>` or `sha256-<64 hex>`.

        Raises:
            InvalidDigest: anything else.
        """
        match = _DIGEST.match(text)
        if match is None:
            raise InvalidDigest(text)
        return cls(match.group(1).lower())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The 12 digits a person is shown."""
        return self.hex[:12]


def without_local(text: str) -> str:
    """Return a model's name without the `:local` by which Ollama's clients ask for no other than this machine's."""
    return text[: -len(_LOCAL)] if text.lower().endswith(_LOCAL) else text
