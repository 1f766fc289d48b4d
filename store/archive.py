"""A model as one file: a tar in the OCI image layout, which other tools for registries read too.

Written with names and sizes only, so that the same model gives the same bytes. Reading is a security border: nothing
is unpacked to where the file says. Its entries are found by walking the headers, and only the blobs that its manifest
names are read, into the store, against their digests and sizes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corral.store.blobs import CHUNK_BYTES, BlobStore
from corral.store.disk import disk_errors, open_temp, require_space
from corral.store.errors import ArchiveError, BlobNotFound, BrokenManifest, InvalidDigest, InvalidName, NotGguf
from corral.store.gguf import read_header
from corral.store.manifests import (
    LONGEST_JSON_BYTES,
    Layer,
    Manifest,
    ManifestStore,
    MediaType,
    decode_config,
    decode_manifest,
)
from corral.store.names import Digest, ModelName

_LAYOUT, _INDEX, _BLOBS = "oci-layout", "index.json", "blobs/sha256/"
_REF_NAME = "org.opencontainers.image.ref.name"
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_BLOCK = tarfile.BLOCKSIZE
_MOST_ENTRIES = 10_000
_LONGEST_EXTENSION = 1 << 20
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE)
_GGUF_LAYERS = (MediaType.MODEL, MediaType.PROJECTOR, MediaType.ADAPTER, MediaType.DRAFT)

OnBytes = Callable[[int], None]


def export_model(blobs: BlobStore, name: ModelName, target: Path, on_bytes: OnBytes) -> int:
    """Write a model to `target`, which appears only when it is whole. Blocks its thread.

    Returns:
        The bytes written.

    Raises:
        ModelNotFound, BrokenManifest, BlobNotFound: the model is not here, or not whole.
        NoSpace, StoreError: the disk refuses.
    """
    data = ManifestStore(blobs.paths).read_bytes(name)
    manifest = decode_manifest(data)
    for layer in _layers(manifest):
        if blobs.size(layer.digest) != layer.size:
            raise BlobNotFound(f"blob {layer.digest} is damaged: see corral verify {name.short}")
    digest = _digest_of(data)
    entry = {"mediaType": _MANIFEST_TYPE, "digest": str(digest), "size": len(data)}
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": {_REF_NAME: name.short}}]}
    with disk_errors(target.parent, manifest.size):
        require_space(target.parent, manifest.size)
        handle, temp = open_temp(target.parent)
        try:
            # GNU's format has sizes above 8 GB in the header itself, with no extension before it.
            with (
                os.fdopen(handle, "wb") as file,
                tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar,
            ):
                _put(tar, _LAYOUT, io.BytesIO(b'{"imageLayoutVersion":"1.0.0"}'))
                _put(tar, _INDEX, io.BytesIO(json.dumps(index, separators=(",", ":")).encode()))
                _put(tar, f"{_BLOBS}{digest.hex}", io.BytesIO(data))
                for layer in _layers(manifest):
                    with blobs.path(layer.digest).open("rb") as blob:
                        _put(tar, f"{_BLOBS}{layer.digest.hex}", blob, on_bytes)
            temp.chmod(0o644)
            temp.replace(target)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
    return target.stat().st_size


@dataclass(frozen=True, slots=True)
class Archive:
    """What a file of `export_model` holds: `entries` has where in the file each blob begins, and its bytes."""

    path: Path
    name: str
    manifest_bytes: bytes
    manifest: Manifest
    entries: Mapping[str, tuple[int, int]]


def open_archive(path: Path) -> Archive:
    """Look at such a file without taking anything from it. Blocks its thread.

    Raises:
        ArchiveError: it is none, or holds what no such file may.
    """
    with _opened(path) as file:
        entries = dict(_walk(file))
        index = _json(_small(file, entries, _INDEX))
        found = index.get("manifests")
        if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
            raise ArchiveError("the file holds no model, or several")
        annotations = found[0].get("annotations")
        name = annotations.get(_REF_NAME, "") if isinstance(annotations, dict) else ""
        try:
            digest = Digest.parse(str(found[0].get("digest")))
            data = _small(file, entries, f"{_BLOBS}{digest.hex}")
            if _digest_of(data) != digest:
                raise ArchiveError("the file is damaged: its manifest is not what its digest says")
            manifest = decode_manifest(data)
        except (InvalidDigest, BrokenManifest) as error:
            raise ArchiveError(f"the file holds no model: {error}") from None
    for layer in _layers(manifest):
        if entries.get(f"{_BLOBS}{layer.digest.hex}", (0, -1))[1] != layer.size:
            raise ArchiveError(f"the file is not whole: blob {layer.digest} is missing or of another size")
    return Archive(path, str(name), data, manifest, entries)


def import_model(blobs: BlobStore, archive: Archive, name: ModelName, on_bytes: OnBytes) -> None:
    """Put a model into the store, and its manifest last. Blocks its thread.

    Raises:
        ArchiveError: another model has that name, or a file is not what it should be.
        DigestMismatch, NoSpace, StoreError: the bytes are others, or the store cannot take them.
    """
    manifests = ManifestStore(blobs.paths)
    if manifests.locate(name) is not None and manifests.read_bytes(name) != archive.manifest_bytes:
        raise ArchiveError(f"another model is called {name.short} here: give this one a name of its own")
    layers = {layer.digest: layer for layer in _layers(archive.manifest)}
    missing = [layer for layer in layers.values() if not blobs.has(layer.digest)]
    require_space(blobs.paths.root, sum(layer.size for layer in missing))
    done = 0
    with _opened(archive.path) as file:
        for layer in missing:
            offset, _ = archive.entries[f"{_BLOBS}{layer.digest.hex}"]
            _take(blobs, file, offset, layer, on_bytes, done)
            done += layer.size
    try:
        decode_config(blobs.read(archive.manifest.config.digest, LONGEST_JSON_BYTES))
    except BrokenManifest as error:
        raise ArchiveError(f"the file holds no model: {error}") from None
    manifests.write_bytes(name, archive.manifest_bytes)


def name_of(archive: Archive) -> ModelName:
    """The name the model had where it was exported.

    Raises:
        ArchiveError: the file says none.
    """
    try:
        return ModelName.parse(archive.name)
    except InvalidName:
        raise ArchiveError("the file does not say what the model is called: name it") from None


def _take(blobs: BlobStore, file: BinaryIO, offset: int, layer: Layer, on_bytes: OnBytes, before: int) -> None:
    """Copy one blob into the store, and look at it before it is one."""
    file.seek(offset)
    with blobs.writer(layer.digest, layer.size) as writer:
        while left := layer.size - writer.size:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise ArchiveError("the file is cut off")
            writer.write(chunk)
            on_bytes(before + writer.size)
        if layer.media_type in _GGUF_LAYERS:
            try:
                read_header(writer.staged())
            except NotGguf as error:
                raise ArchiveError(f"the file holds no model: {error}") from None
        writer.commit()


def _walk(file: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each regular file in a tar: name, where its bytes begin, how many they are.

    Headers are read one by one and no extension is interpreted: what they say could be of any length, and would only
    be names and sizes that no file of ours needs.
    """
    size = os.fstat(file.fileno()).st_size
    seen: set[str] = set()
    position = 0
    for _ in range(_MOST_ENTRIES):
        file.seek(position)
        block = file.read(_BLOCK)
        if len(block) < _BLOCK or not any(block):
            return
        try:
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError:
            raise ArchiveError("not a tar file, or a damaged one") from None
        begin = position + _BLOCK
        if entry.size < 0 or begin + entry.size > size:
            raise ArchiveError("the tar file is cut off, or lies about its sizes")
        position = begin + -(-entry.size // _BLOCK) * _BLOCK
        if entry.type in _EXTENSIONS and entry.size <= _LONGEST_EXTENSION:
            continue
        name = entry.name.removeprefix("./")
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise ArchiveError(f"insecure path in the tar file: {name!r}")
        if entry.isdir():
            continue
        if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise ArchiveError(f"the tar file holds what is no file: {name!r}")
        if name in seen:
            raise ArchiveError(f"the tar file holds {name!r} twice")
        seen.add(name)
        yield name, (begin, entry.size)
    raise ArchiveError("the tar file holds too many files")


def _small(file: BinaryIO, entries: Mapping[str, tuple[int, int]], name: str) -> bytes:
    offset, size = entries.get(name, (0, -1))
    if not 0 <= size <= LONGEST_JSON_BYTES:
        raise ArchiveError(f"the tar file is no model: {name} is missing or too long")
    file.seek(offset)
    return file.read(size)


def _json(data: bytes) -> dict[str, object]:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise ArchiveError(f"the tar file is no model: {_INDEX} is not what it should be")
    return read


class _Told:
    """A file whose reader is told of: `on_bytes` gets how many bytes the tar file has by then."""

    def __init__(self, content: BinaryIO, tar: tarfile.TarFile, on_bytes: OnBytes) -> None:
        self._content = content
        self._before = tar.offset
        self._on_bytes = on_bytes

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        self._on_bytes(self._before + self._content.tell())
        return data


def _put(tar: tarfile.TarFile, name: str, content: BinaryIO, on_bytes: OnBytes | None = None) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, os.SEEK_END)
    entry.mode = 0o644
    content.seek(0)
    tar.addfile(entry, _Told(content, tar, on_bytes) if on_bytes else content)


def _layers(manifest: Manifest) -> tuple[Layer, ...]:
    """Every blob of a model, each once."""
    return tuple({layer.digest: layer for layer in (manifest.config, *manifest.layers)}.values())


def _digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise ArchiveError(f"{path.name}: no such file" if not path.exists() else f"{path.name}: not a regular file")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ArchiveError(f"{path.name}: {error.strerror}") from error
