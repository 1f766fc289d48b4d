"""GGUF files that other tools have fetched, seen as models where they lie: nothing is copied, nothing is changed.

A file's digest would take reading gigabytes, so what stands for it is made from its path, size and time of change:
it tells one content from the next, and is no digest of bytes. Looking again costs a `stat` a folder and a file: what
was read of a folder or a header is kept as long as these have not changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from corral.store import folders
from corral.store.catalog import StoredModel, newest_first
from corral.store.counts import human_count
from corral.store.errors import InvalidName, NotGguf
from corral.store.file_names import FileName, is_gguf, projector_preference, take_apart
from corral.store.folders import GgufFolder
from corral.store.gguf import read_header
from corral.store.manifests import Layer, Manifest, MediaType, ModelConfig
from corral.store.names import DEFAULT_TAG, Digest, ModelName

_DEEPEST = 8
_MOST_FOLDERS = 20_000
_MOST_FILES = 20_000
_SETTLED_NS = 2 * 10**9
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")
_FOREIGN_NAMESPACE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class LooseFiles:
    """The files of one model, below `root`; implements `catalog.Files`."""

    root: Path
    paths: Mapping[Digest, Path] = field(default_factory=dict)

    def blob(self, digest: Digest) -> Path:
        """See `catalog.Files`."""
        return self.paths.get(digest, self.root / f"sha256-{digest.hex}")


class _Listing(NamedTuple):
    """What a folder holds, as of its time of change; `settled` says that no later change can bear the same time."""

    mtime_ns: int
    settled: bool
    folders: tuple[str, ...]
    files: tuple[str, ...]


class _Signature(NamedTuple):
    size: int
    mtime_ns: int
    identity: tuple[int, int]


class _Facts(NamedTuple):
    """What a header says as far as a listing needs it."""

    architecture: str
    kind: str
    tensors: int
    parameters: int
    quantization: str


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A file as it was when it was looked into; the same object as long as it has not changed."""

    path: Path
    shown: str
    name: FileName
    signature: _Signature
    facts: _Facts


class LooseModels:
    """The models in such folders. Safe from any thread; two that look at once take turns."""

    def __init__(self, places: Sequence[GgufFolder]) -> None:
        self._folders = tuple(places)
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}
        self._files: dict[str, tuple[_Signature, _File | None]] = {}
        self._models: dict[tuple[_File, ...], StoredModel] = {}

    def scan(self) -> tuple[StoredModel, ...]:
        """Every model there is now, newest first. What is no GGUF file, no model, or not whole is passed over."""
        if not self._folders:
            return ()
        with self._lock:
            listings, files = self._listings, self._files
            self._listings, self._files = {}, {}
            found: dict[tuple[str, str, str, str], StoredModel] = {}
            seen: set[tuple[int, int]] = set()
            models: dict[tuple[_File, ...], StoredModel] = {}
            for folder in self._folders:
                wholes = list(self._wholes(folder, listings, files))
                wholes.sort(key=lambda whole: (-whole[0][0].signature.mtime_ns, whole[0][0].shown))
                for parts, beside in wholes:
                    # Snapshots of two revisions point to one file.
                    if parts[0].signature.identity in seen:
                        continue
                    seen.add(parts[0].signature.identity)
                    model = self._model(folder, parts, beside, found)
                    if model is not None:
                        found[model.name.key] = model
                        models[*parts, *beside] = model
            self._models = models
            return tuple(sorted(found.values(), key=newest_first))

    def _wholes(
        self, folder: GgufFolder, listings: Mapping[str, _Listing], known: Mapping[str, tuple[_Signature, _File | None]]
    ) -> Iterator[tuple[list[_File], list[_File]]]:
        """The files of each model: its weights, all parts of them, and the projectors beside or above it."""
        projectors: dict[str, list[_File]] = {}
        models: list[tuple[str, list[_File]]] = []
        stems: dict[str, set[str]] = {}
        for path, names in self._walk(folder, listings):
            files = [file for name in names if (file := self._file(path, name, known)) is not None]
            projectors[path] = [file for file in files if file.facts.architecture == "clip"]
            sets: dict[tuple[str, str, int], list[_File]] = {}
            for file in files:
                if file.facts.architecture != "clip" and file.facts.kind == "model":
                    sets.setdefault((file.name.stem, file.name.quant, file.name.parts), []).append(file)
            for (_, _, count), parts in sets.items():
                parts.sort(key=lambda file: file.name.part)
                whole = [file.name.part for file in parts] == list(range(1, count + 1))
                if whole and parts[0].facts.architecture and any(file.facts.tensors for file in parts):
                    models.append((path, parts))
                    stems.setdefault(path, set()).add(parts[0].name.stem)
        root = os.fspath(folder.path)
        for path, parts in models:
            at = path
            while not projectors.get(at) and len(at) > len(root):
                at = os.path.dirname(at)
            # A folder of many models says nothing of which of them a projector in it is for.
            alone = len(stems[path]) == 1
            yield parts, projectors.get(at, []) if alone or folder.tool != folders.ANY_FOLDER else []

    def _walk(self, folder: GgufFolder, listings: Mapping[str, _Listing]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Folders and the names of the GGUF files in them; links to folders are not followed, they may lead round."""
        waiting = [(os.fspath(folder.path), 0)]
        passed = files = 0
        while waiting and passed < _MOST_FOLDERS and files < _MOST_FILES:
            path, depth = waiting.pop()
            listing = self._listing(path, listings)
            if listing is None:
                continue
            passed += 1
            files += len(listing.files)
            if listing.files:
                yield path, listing.files
            if depth < _DEEPEST:
                inner = (name for name in listing.folders if _may_hold_models(folder.tool, depth, name))
                waiting += [(f"{path}{os.sep}{name}", depth + 1) for name in inner]

    def _listing(self, path: str, listings: Mapping[str, _Listing]) -> _Listing | None:
        known = listings.get(path)
        try:
            mtime_ns = os.stat(path).st_mtime_ns
            if known is None or not known.settled or known.mtime_ns != mtime_ns:
                settled = mtime_ns < time.time_ns() - _SETTLED_NS
                with os.scandir(path) as entries:
                    inside = list(entries)
                inner = tuple(sorted(one.name for one in inside if one.is_dir(follow_symlinks=False)))
                names = tuple(sorted(one.name for one in inside if is_gguf(one.name)))
                known = _Listing(mtime_ns, settled, inner, names)
        except OSError:
            return None
        self._listings[path] = known
        return known

    def _file(self, folder: str, name: str, known: Mapping[str, tuple[_Signature, _File | None]]) -> _File | None:
        path = f"{folder}{os.sep}{name}"
        try:
            info = os.stat(path)
        except OSError:
            return None
        signature = _Signature(info.st_size, info.st_mtime_ns, (info.st_dev, info.st_ino))
        before = known.get(path)
        if before is None or before[0] != signature:
            facts = _read_facts(Path(path))
            file = None if facts is None else _File(Path(path), path, take_apart(name), signature, facts)
            before = (signature, file)
        self._files[path] = before
        return before[1]

    def _model(
        self,
        folder: GgufFolder,
        parts: list[_File],
        beside: list[_File],
        taken: Mapping[tuple[str, str, str, str], StoredModel],
    ) -> StoredModel | None:
        known = self._models.get((*parts, *beside))
        if known is not None and known.name.key not in taken:
            return known
        name = _name(folder, parts[0], taken)
        if name is None:
            return None
        projectors = sorted(beside, key=lambda file: (projector_preference(file.name.quant), file.shown))[:1]
        layers = [Layer(MediaType.MODEL, _stand_in(file), file.signature.size) for file in parts]
        layers += [Layer(MediaType.PROJECTOR, _stand_in(file), file.signature.size) for file in projectors]
        whole = Digest(hashlib.sha256("".join(layer.digest.hex for layer in layers).encode()).hexdigest())
        facts = parts[0].facts
        config = ModelConfig(
            model_format="gguf",
            model_family=facts.architecture,
            model_families=(facts.architecture, *("clip" for _ in projectors)),
            model_type=human_count(sum(file.facts.parameters for file in parts)),
            file_type=facts.quantization,
        )
        manifest = Manifest(Layer(MediaType.CONFIG, whole, 0), tuple(layers))
        changed = datetime.fromtimestamp(parts[0].signature.mtime_ns / 1e9, UTC).astimezone()
        paths = {layer.digest: file.path for layer, file in zip(layers, (*parts, *projectors), strict=True)}
        files = LooseFiles(folder.path, paths)
        return StoredModel(name, whole.hex, manifest.size, changed, manifest, config, files)


def _may_hold_models(tool: str, depth: int, name: str) -> bool:
    """Whether a folder is looked into: of Hugging Face's, only what its tools show of a repository."""
    if name.startswith("."):
        return False
    if tool != folders.HUGGING_FACE:
        return True
    return name.startswith("models--") if depth == 0 else name == "snapshots" if depth == 1 else True


def _read_facts(path: Path) -> _Facts | None:
    try:
        header = read_header(path)
    except NotGguf:
        return None
    parameters = header.parameter_count
    return _Facts(header.architecture, header.kind, len(header.tensors), parameters, header.quantization)


def _stand_in(file: _File) -> Digest:
    text = f"{file.shown}\0{file.signature.size}\0{file.signature.mtime_ns}"
    return Digest(hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest())


def _name(folder: GgufFolder, file: _File, taken: Mapping[tuple[str, str, str, str], StoredModel]) -> ModelName | None:
    """`tool/who/what:quantization`; a number is added where another file has that name. None where there is no way."""
    namespace, model = _whose(folder, file)
    namespace = _FOREIGN_NAMESPACE.sub("-", namespace).strip("-")[:80] or "local"
    model = _FOREIGN.sub("-", model).strip("-._")[:80] or "model"
    quant = file.name.quant or file.facts.quantization
    tag = _FOREIGN.sub("-", quant).strip("-._")[:70] or DEFAULT_TAG
    with contextlib.suppress(InvalidName):
        name = ModelName(folder.tool, namespace, model, tag)
        for number in range(2, 100):
            if name.key not in taken:
                return name
            name = msgspec.structs.replace(name, tag=f"{tag}-{number}")
    return None


def _whose(folder: GgufFolder, file: _File) -> tuple[str, str]:
    """Who made a model and what it is called, as the tool's folders say."""
    places = file.path.relative_to(folder.path).parts
    match folder.tool:
        case folders.HUGGING_FACE:
            _, _, repository = places[0].partition("--")
            user, _, name = repository.rpartition("--")
            return user, name
        case folders.LM_STUDIO if len(places) > 2:
            return places[0], places[1]
        case folders.LLAMA_CPP:
            user, _, name = file.name.stem.partition("_")
            return (user, name) if name else ("", file.name.stem)
        case _:
            return file.path.parent.name, file.name.stem
