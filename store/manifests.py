"""Manifests: what a model consists of, in Ollama's layout and bytes (spec h.1, h.2).

Written last on the way in and removed first on the way out, so that a manifest never points at what is not there.
Safe from any thread; changes hold the store's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from corral.store.blobs import BlobStore
from corral.store.disk import disk_errors, locked, make_folder, replace_file, sync_folder
from corral.store.errors import BlobNotFound, BrokenManifest, InvalidDigest, InvalidName, ModelNotFound
from corral.store.names import Digest, ModelName
from corral.store.paths import StorePaths

#: More than this is no manifest and no config; Ollama's largest are a few kB.
LONGEST_JSON_BYTES = 4 << 20
_LARGEST_SIZE = 2**63 - 1
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class MediaType(StrEnum):
    """What a layer is (spec h.2). Layers of other kinds are kept as they are."""

    CONFIG = "application/vnd.docker.container.image.v1+json"
    MODEL = "application/vnd.ollama.image.model"
    PROJECTOR = "application/vnd.ollama.image.projector"
    ADAPTER = "application/vnd.ollama.image.adapter"
    TEMPLATE = "application/vnd.ollama.image.template"
    PROMPT = "application/vnd.ollama.image.prompt"
    SYSTEM = "application/vnd.ollama.image.system"
    PARAMS = "application/vnd.ollama.image.params"
    MESSAGES = "application/vnd.ollama.image.messages"
    LICENSE = "application/vnd.ollama.image.license"
    EMBED = "application/vnd.ollama.image.embed"
    JSON = "application/vnd.ollama.image.json"
    TENSOR = "application/vnd.ollama.image.tensor"
    DRAFT = "application/vnd.ollama.image.draft"


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of a model. `size` in bytes; `from_` the model it was taken over from, `name` that of a tensor layer."""

    media_type: str
    digest: Digest
    size: int
    from_: str | None = None
    name: str | None = None


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The config blob of a model (spec h.2), in the order in which Ollama writes it."""

    model_format: str = ""
    model_family: str = ""
    model_families: tuple[str, ...] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: tuple[str, ...] | None = None
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, Any] | None = None
    architecture: str = "amd64"
    os: str = "linux"


#: Go writes these though they are empty; everything else only when it says something.
_ALWAYS = {"model_format", "model_family", "model_families", "model_type", "file_type", "architecture", "os"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of a model."""

    config: Layer
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts together, as Ollama counts a model's size."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def digests(self) -> frozenset[Digest]:
        """Every blob the model needs."""
        return frozenset((self.config.digest, *(layer.digest for layer in self.layers)))


class _WireLayer(msgspec.Struct, frozen=True, rename={"media_type": "mediaType", "from_": "from"}):
    media_type: str
    digest: str
    size: int
    from_: str | None = None
    name: str | None = None


class _WireManifest(msgspec.Struct, frozen=True):
    config: _WireLayer
    layers: tuple[_WireLayer, ...] | None = None


_MANIFESTS = msgspec.json.Decoder(_WireManifest)
_CONFIGS = msgspec.json.Decoder(ModelConfig)


def go_json(value: object) -> bytes:
    """JSON as Go's `json.Encoder` writes it, so that what says the same has the same digest as in Ollama.

    No blanks, <, > and & escaped, whole numbers without a fraction, a newline. The order of keys is the caller's.
    """
    text = msgspec.json.encode(_numbers_as_go(value))
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign.encode(), b"\\u%04x" % ord(sign))
    return text + b"\n"


def _numbers_as_go(value: object) -> object:
    match value:
        case dict():
            return {key: _numbers_as_go(one) for key, one in value.items()}
        case list() | tuple():
            return [_numbers_as_go(one) for one in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
    return value


def decode_manifest(data: bytes) -> Manifest:
    """Read the bytes of a manifest.

    Raises:
        BrokenManifest: not JSON, a digest that is none, a size below 0, or a part missing.
    """
    try:
        wire = _MANIFESTS.decode(data)
        return Manifest(_layer(wire.config), tuple(_layer(layer) for layer in wire.layers or ()))
    except (msgspec.MsgspecError, InvalidDigest, RecursionError, UnicodeDecodeError) as error:
        raise BrokenManifest(f"the manifest cannot be read: {error}") from error


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes Ollama would write for a created model: its key order, no blanks, a newline at the end."""
    wire = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _wire(manifest.config),
        "layers": [_wire(layer) for layer in manifest.layers],
    }
    return go_json(wire)


def decode_config(data: bytes) -> ModelConfig:
    """Read the bytes of a config blob; unknown keys, and null for a list, are accepted.

    Raises:
        BrokenManifest: not JSON, or a value of the wrong type.
    """
    try:
        return _CONFIGS.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BrokenManifest(f"the config cannot be read: {error}") from error


def encode_config(config: ModelConfig) -> bytes:
    """The bytes Ollama would write for a config: its key order, empty optional keys left out, a newline."""
    fields = msgspec.structs.asdict(config)
    return go_json({key: value for key, value in fields.items() if value or key in _ALWAYS})


def _layer(wire: _WireLayer) -> Layer:
    if not 0 <= wire.size <= _LARGEST_SIZE:
        raise BrokenManifest(f"the manifest cannot be read: a size of {wire.size}")
    return Layer(wire.media_type, Digest.parse(wire.digest), wire.size, wire.from_, wire.name)


def _wire(layer: Layer) -> dict[str, str | int]:
    wire: dict[str, str | int] = {
        "mediaType": str(layer.media_type),
        "digest": str(layer.digest),
        "size": layer.size,
    }
    if layer.from_:
        wire["from"] = layer.from_
    if layer.name:
        wire["name"] = layer.name
    return wire


def read_small(path: str | Path) -> tuple[bytes, float]:
    """The content of a manifest or config file, and the time it was changed.

    Raises:
        BrokenManifest: longer than any such file is, or no file that can simply be read.
        OSError: it cannot be read.
    """
    # Plain calls, since a list of a thousand models makes two thousand of these; without O_NONBLOCK, opening a
    # named pipe waits for its writer for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise BrokenManifest("the manifest cannot be read: not a regular file")
        if info.st_size > LONGEST_JSON_BYTES:
            raise BrokenManifest("the manifest cannot be read: too long")
        return os.read(handle, info.st_size), info.st_mtime
    finally:
        os.close(handle)


class ManifestStore:
    """The manifests folder of a store."""

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths
        self._blobs = BlobStore(paths)

    def locate(self, name: ModelName) -> ModelName | None:
        """The spelling under which `name` is kept, if it is; case makes no difference (spec h.3)."""
        found = [str(self._paths.manifests)]
        for part in (name.host, name.namespace, name.model, name.tag):
            wanted = part.casefold()
            found = [child.path for folder in found for child in _children(folder) if child.name.casefold() == wanted]
        # Where a file system and another program allowed two spellings, the one asked for wins.
        exact = str(self._paths.manifest(name))
        for path in sorted(found, key=lambda path: (path != exact, path)):
            if os.path.isfile(path):
                with contextlib.suppress(InvalidName):
                    return ModelName(*path.split(os.sep)[-4:])
        return None

    def read_bytes(self, name: ModelName) -> bytes:
        """The manifest file of `name` as it is.

        Raises:
            ModelNotFound: there is none.
            BrokenManifest: it cannot be read.
        """
        kept = self.locate(name)
        if kept is None:
            raise ModelNotFound(name.short)
        try:
            return read_small(self._paths.manifest(kept))[0]
        except FileNotFoundError:
            raise ModelNotFound(name.short) from None
        except OSError as error:
            raise BrokenManifest(f"the manifest of '{name.short}' cannot be read: {error.strerror}") from error

    def read(self, name: ModelName) -> Manifest:
        """The manifest of `name`.

        Raises:
            ModelNotFound: there is none.
            BrokenManifest: it cannot be read.
        """
        return decode_manifest(self.read_bytes(name))

    def write(self, name: ModelName, config: ModelConfig, layers: Sequence[Layer]) -> str:
        """Store the config and make the model exist, replacing one of that name in any spelling.

        Returns:
            The model's digest: sha256 of the manifest file, in hex.

        Raises:
            BlobNotFound: a layer's bytes are not here; nothing is changed then.
            NoSpace, StoreReadOnly, StoreError: the disk refuses; nothing is changed then.
        """
        blob = self._blobs.put_bytes(encode_config(config))
        manifest = Manifest(Layer(MediaType.CONFIG, blob.digest, blob.size), tuple(layers))
        return self.write_bytes(name, encode_manifest(manifest))

    def write_bytes(self, name: ModelName, data: bytes) -> str:
        """Make a model exist whose manifest is `data`, byte for byte.

        Returns:
            The model's digest, in hex.

        Raises:
            BrokenManifest: `data` is no manifest.
            BlobNotFound: a part's bytes are not here; nothing is changed then.
            NoSpace, StoreReadOnly, StoreError: the disk refuses; nothing is changed then.
        """
        manifest = decode_manifest(data)
        with locked(self._paths.lock):
            # Under the lock: a delete running beside us could have taken a shared blob a moment ago.
            for digest in sorted(manifest.digests):
                if not self._blobs.has(digest):
                    raise BlobNotFound(f"blob {digest} is missing from the store")
            path = self._paths.manifest(self.locate(name) or name)
            with disk_errors(self._paths.root, len(data)):
                make_folder(path.parent)
                # Beside the manifest, what a crash leaves of it would be taken for a model, by Ollama too.
                replace_file(path, data, self._paths.manifests)
        return hashlib.sha256(data).hexdigest()

    def copy(self, source: ModelName, target: ModelName) -> None:
        """Give a model a second name.

        Raises:
            ModelNotFound, BrokenManifest: there is no `source`, or it is broken.
            BlobNotFound, NoSpace, StoreReadOnly, StoreError: as for `write_bytes`.
        """
        self.write_bytes(target, self.read_bytes(source))

    def remove(self, name: ModelName) -> None:
        """Make a model no longer exist; its blobs stay. Does not take the lock: plans do, around more than this.

        Raises:
            ModelNotFound: there is none of that name.
            StoreReadOnly, StoreError: the disk refuses.
        """
        kept = self.locate(name)
        if kept is None:
            raise ModelNotFound(name.short)
        path = self._paths.manifest(kept)
        with disk_errors(self._paths.root):
            try:
                path.unlink()
            except FileNotFoundError:
                raise ModelNotFound(name.short) from None
            sync_folder(path.parent)
        self._remove_empty_folders(path.parent)

    def move(self, name: ModelName, target: StorePaths) -> None:
        """Take the manifest of `name` to another place of the same file system, by one rename.

        What is at `target` under that name is replaced. Does not take the lock, as `remove`.

        Raises:
            ModelNotFound: there is none of that name.
            NoSpace, StoreReadOnly, StoreError: the disk refuses.
        """
        kept = self.locate(name)
        if kept is None:
            raise ModelNotFound(name.short)
        old, new = self._paths.manifest(kept), target.manifest(kept)
        with disk_errors(self._paths.root):
            make_folder(new.parent)
            try:
                old.replace(new)
            except FileNotFoundError:
                raise ModelNotFound(name.short) from None
            sync_folder(new.parent)
            sync_folder(old.parent)
        self._remove_empty_folders(old.parent)

    def _remove_empty_folders(self, folder: Path) -> None:
        # A folder that isn't empty, or went meanwhile, is no failure: the model is gone already.
        with contextlib.suppress(OSError):
            while folder != self._paths.manifests:
                folder.rmdir()
                folder = folder.parent

    def names(self) -> Iterator[ModelName]:
        """The names of all manifests, readable or not, in no order."""
        for name, _ in self.entries():
            if isinstance(name, ModelName):
                yield name

    def entries(self) -> Iterator[tuple[ModelName | str, str]]:
        """Everything that lies where a manifest would: its name, or its relative path where that is no name."""
        for host in _children(self._paths.manifests):
            for namespace in _children(host.path):
                for model in _children(namespace.path):
                    for tag in _children(model.path):
                        parts = (host.name, namespace.name, model.name, tag.name)
                        try:
                            yield ModelName(*parts), tag.path
                        except InvalidName:
                            yield "/".join(parts), tag.path


def _children(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing for one that is a file, went meanwhile, or may not be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
