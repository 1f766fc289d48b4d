"""The files a model is made from, looked at: which are weights, projectors, adapters, a draft (spec f.1, k)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from corral.runtime.errors import BadRequest
from corral.runtime.verbs import CreateRequest
from corral.store.blobs import BlobStore
from corral.store.errors import BlobNotFound, NotGguf
from corral.store.gguf import GgufHeader, read_header
from corral.store.names import Digest

PROJECTOR_ARCHITECTURE = "clip"
ADAPTER_KIND = "adapter"

File = tuple[Digest, GgufHeader]


@dataclass(frozen=True, slots=True)
class Components:
    """GGUF files of the store by what they are. `weights` are several where they are split, in no order yet."""

    weights: tuple[File, ...] = ()
    projectors: tuple[File, ...] = ()
    adapters: tuple[File, ...] = ()
    draft: File | None = None


def read_components(blobs: BlobStore, request: CreateRequest) -> Components:
    """Look at every file a request names.

    Raises:
        BadRequest: a file is no GGUF, or of a kind that does not belong where the request has it.
        InvalidDigest, BlobNotFound: a file is not in the store.
    """
    files = _read(blobs, request.files)
    adapters = _read(blobs, request.adapters)
    adapters += [one for one in files if is_adapter(one[1])]
    if len(adapters) > 1:
        raise BadRequest("only one adapter is currently supported")
    if any(not is_adapter(header) for _, header in adapters):
        raise BadRequest("the adapter is no LoRA adapter in GGUF format: its general.type is not 'adapter'")
    drafts = _read(blobs, request.draft_files)
    if len(drafts) > 1:
        raise BadRequest("a draft model is made from exactly one GGUF file")
    if len(request.imatrix) > 1:
        raise BadRequest("an importance matrix is exactly one GGUF file")
    _read(blobs, request.imatrix)
    components = Components(
        weights=tuple(one for one in files if not is_adapter(one[1]) and not is_projector(one[1])),
        projectors=tuple(one for one in files if is_projector(one[1])),
        adapters=tuple(adapters),
        draft=drafts[0] if drafts else None,
    )
    if not components.weights and not request.base:
        raise BadRequest("no base model was found")
    return components


def is_adapter(header: GgufHeader) -> bool:
    """Whether a file changes the weights of another."""
    return header.kind == ADAPTER_KIND


def is_projector(header: GgufHeader) -> bool:
    """Whether a file makes images or sound into what a model reads."""
    return header.architecture == PROJECTOR_ARCHITECTURE


def is_relative(path: str) -> bool:
    """Whether a name in a map of files stays below where it is put together."""
    return bool(path) and not (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path)


def blobs_of(blobs: BlobStore, files: Mapping[str, str]) -> dict[str, Digest]:
    """Return the blobs of uploaded files, each seen to be there.

    Raises:
        BadRequest: a name leads out of its folder.
        InvalidDigest, BlobNotFound: a file is not in the store.
    """
    found = {}
    for key, text in files.items():
        if not is_relative(key):
            raise BadRequest("file path must be relative")
        digest = found[key] = Digest.parse(text)
        if not blobs.has(digest):
            raise BlobNotFound(f"blob {digest} is not in the store; upload it first")
    return found


def _read(blobs: BlobStore, files: Mapping[str, str]) -> list[File]:
    found = []
    for digest in blobs_of(blobs, files).values():
        try:
            found.append((digest, read_header(blobs.path(digest))))
        except NotGguf as error:
            raise BadRequest(f"supplied file was not in GGUF format: {error}") from None
    return found
