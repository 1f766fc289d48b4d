"""The models on disk as the verbs need them: opened to be run, listed, and shown (spec a.11, a.12).

Owned by the service loop; reading files happens in threads. GGUF headers are kept by digest: bytes under a digest
never change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from corral.runtime.capabilities import capabilities, renderer_of, vocabulary_infills
from corral.runtime.errors import CloudDisabled
from corral.runtime.remote.address import Remote
from corral.runtime.remote.stub import remote_of, stub_capabilities, stub_info
from corral.runtime.verbs import Details, Message, ModelDetails, ModelSummary, TensorInfo
from corral.store.catalog import Inventory, StoredModel
from corral.store.collection import Collection
from corral.store.errors import BrokenManifest, InvalidName, ModelElsewhere, ModelNotFound
from corral.store.gguf import GgufArray, GgufHeader, read_header
from corral.store.manifests import Layer, MediaType, ModelConfig
from corral.store.modelfile import Command, in_order, render
from corral.store.names import Digest, ModelName, without_local

HEADERS_KEPT = 2048
_NO_HEADER = GgufHeader(0, {}, (), 1, 0, 0)
SHOWN_ARRAY = 5
"""Longer arrays are shown empty unless asked for (spec a.12)."""


@dataclass(frozen=True, slots=True)
class ModelOnDisk:
    """A model with all its small parts read. `template` is None where the model's own Jinja template is to be used.

    One with a `remote` has its engine there: it has no weights here, and an empty header.
    `draft` is the file of the small model that guesses what this one will say, `adapters` are the LoRA files on the
    weights, `projectors` those that make images into what the model reads. `alias_of` is the model's own name where it
    was opened by an alias; `shown` is the own name in any case.
    """

    name: ModelName
    shown: str
    digest: str
    size: int
    modified_at: datetime
    config: ModelConfig
    weights: Digest
    path: Path
    header: GgufHeader
    template: str | None
    system: str
    parameters: Mapping[str, object]
    history: tuple[Message, ...]
    licenses: tuple[str, ...]
    capabilities: tuple[str, ...]
    draft: Path | None = None
    adapters: tuple[Path, ...] = ()
    projectors: tuple[Path, ...] = ()
    remote: Remote | None = None
    alias_of: str = ""

    @property
    def renderer(self) -> str:
        """The built-in way its prompts are written, "" for a template's (spec g.3)."""
        return renderer_of(self.config, self.header, self.template)

    @property
    def parser(self) -> str:
        """The built-in way its answers are read, "" for a template's."""
        return self.config.parser

    @property
    def runner_key(self) -> str:
        """What two models must have in common to share a runner and what it has computed: all that it computes with."""
        return "+".join((self.weights.hex, *(path.name for path in (*self.adapters, *self.projectors))))


class _Opened(NamedTuple):
    """A model as it was read, of what, and the files that must still be there."""

    stored: StoredModel
    model: ModelOnDisk
    files: tuple[str, ...]


class Library:
    """Reads models. Everything it returns is frozen."""

    def __init__(self, models: Collection) -> None:
        self._models = models
        self._headers: OrderedDict[Digest, GgufHeader] = OrderedDict()
        self._infills: dict[Digest, bool] = {}
        self._opened: dict[tuple[str, ...], _Opened] = {}
        self._summaries: dict[tuple[str, ...], tuple[StoredModel, ModelSummary]] = {}

    def call(self, aliases: Mapping[str, str]) -> None:
        """Take other aliases from now on."""
        self._models.call(aliases)

    async def open(self, text: str) -> ModelOnDisk:
        """Read a model by the name a request gives.

        Raises:
            InvalidName: the text is no name.
            ModelNotFound: no such model, in the request's spelling.
            StoreError: the model is damaged.
        """
        unchanged = self._open_unchanged(text)
        return unchanged if unchanged is not None else await asyncio.to_thread(self._open, text)

    async def inserts(self, model: ModelOnDisk) -> bool:
        """Say whether a model writes between two texts; looks into its vocabulary where nothing else says so."""
        if "insert" in model.capabilities:
            return True
        if model.weights not in self._infills:
            self._infills[model.weights] = await asyncio.to_thread(vocabulary_infills, model.path)
        return self._infills[model.weights]

    async def inventory(self) -> Inventory:
        """Scan the own store: what can be planned for and changed."""
        return await asyncio.to_thread(self._models.inventory)

    async def find(self, text: str) -> tuple[StoredModel, bool]:
        """Find a model by the name a request gives, and say whether it is the own store's; raises as `open`."""
        stored = await asyncio.to_thread(self._find, text)
        return stored, self._models.owns(stored)

    async def check_ours(self, text: str) -> None:
        """Refuse to change what can only be used.

        Raises:
            ModelElsewhere: the model lies in another folder, or the name is an alias.
            ModelNotFound: there is no such model at all.
        """
        stored, ours = await self.find(text)
        if stored.alias_of:
            raise ModelElsewhere(f"'{text}' is an alias of {stored.alias_of}: take it out of the settings instead")
        if not ours:
            raise ModelElsewhere(
                f"'{text}' lies in {stored.files.root}, which is only read here: delete it with what put it there"
            )

    async def list(self) -> tuple[ModelSummary, ...]:
        """All models, newest first; one whose weights cannot be read is listed without what they would say."""
        return await asyncio.to_thread(self._list)

    async def show(self, text: str, *, verbose: bool) -> ModelDetails:
        """Everything about a model; raises as `open`."""
        return await asyncio.to_thread(self._show, text, verbose)

    def _find(self, text: str) -> StoredModel:
        bare = without_local(text)
        if bare != text:
            with contextlib.suppress(InvalidName, ModelNotFound):
                return self._models.find(ModelName.parse(text))
        name = ModelName.parse(bare)
        try:
            return self._models.find(name)
        except ModelNotFound:
            if name.tag == "cloud" or name.tag.endswith("-cloud"):
                raise CloudDisabled from None
            raise ModelNotFound(text) from None

    def _open(self, text: str) -> ModelOnDisk:
        stored = self._find(text)
        if (kept := self._kept(stored)) is not None:
            return kept
        model = self._read(stored, text)
        if len(self._opened) >= HEADERS_KEPT:
            self._opened.clear()
        files = tuple(str(stored.files.blob(layer.digest)) for layer in stored.manifest.layers)
        self._opened[stored.name.key] = _Opened(stored, model, files)
        return model

    def _open_unchanged(self, text: str) -> ModelOnDisk | None:
        """Return a model that was opened before if its files are what they were: some `stat`s.

        That is most requests, and a thread would cost each of them more than all else before it goes on.
        """
        if without_local(text) != text:
            return None
        stored = self._models.unchanged(ModelName.parse(text))
        return None if stored is None else self._kept(stored)

    def _kept(self, stored: StoredModel) -> ModelOnDisk | None:
        kept = self._opened.get(stored.name.key)
        # Bytes under a digest never change, but may go; then it is opened anew, which says what is missing.
        if kept is None or kept.stored is not stored or not all(map(os.path.isfile, kept.files)):
            return None
        return kept.model

    def _read(self, stored: StoredModel, text: str) -> ModelOnDisk:
        if remote := remote_of(stored.config):
            return self._stub(stored, remote)
        models = stored.layers(MediaType.MODEL)
        if not models:
            raise BrokenManifest(f"model '{text}' has no weights in the GGUF format")
        weights, path = models[0].digest, stored.path(models[0])
        header = self._header(weights, path)
        drafts = stored.layers(MediaType.DRAFT)
        template = self._template(stored)
        return ModelOnDisk(
            name=stored.name,
            shown=stored.alias_of or stored.name.short,
            digest=stored.digest,
            size=stored.size,
            modified_at=stored.modified_at,
            config=stored.config,
            weights=weights,
            path=path,
            header=header,
            template=template,
            system="".join(self._text(stored, layer) for layer in stored.layers(MediaType.SYSTEM)[-1:]),
            parameters=self._parameters(stored),
            history=self._history(stored),
            licenses=tuple(self._text(stored, layer) for layer in stored.layers(MediaType.LICENSE)),
            capabilities=self._capabilities(stored, header, template),
            draft=stored.path(drafts[-1]) if drafts else None,
            adapters=self._files(stored, MediaType.ADAPTER),
            projectors=self._files(stored, MediaType.PROJECTOR),
            alias_of=stored.alias_of,
        )

    def _stub(self, stored: StoredModel, remote: Remote) -> ModelOnDisk:
        config = stored.manifest.config.digest
        return ModelOnDisk(
            name=stored.name,
            shown=stored.name.short,
            digest=stored.digest,
            size=0,
            modified_at=stored.modified_at,
            config=stored.config,
            weights=config,
            path=stored.files.blob(config),
            header=_NO_HEADER,
            template=self._template(stored),
            system="".join(self._text(stored, layer) for layer in stored.layers(MediaType.SYSTEM)[-1:]),
            parameters=self._parameters(stored),
            history=self._history(stored),
            licenses=tuple(self._text(stored, layer) for layer in stored.layers(MediaType.LICENSE)),
            capabilities=stub_capabilities(stored.config),
            alias_of=stored.alias_of,
            remote=remote,
        )

    def _files(self, stored: StoredModel, kind: MediaType) -> tuple[Path, ...]:
        return tuple(stored.path(layer) for layer in stored.layers(kind))

    def _capabilities(self, stored: StoredModel, header: GgufHeader, template: str | None) -> tuple[str, ...]:
        config = stored.config
        sees = bool(stored.layers(MediaType.PROJECTOR))
        return capabilities(header, template, renderer_of(config, header, template), config.parser, sees=sees)

    def _header(self, digest: Digest, path: Path) -> GgufHeader:
        header = self._headers.get(digest)
        if header is None:
            header = self._headers[digest] = read_header(path, short_arrays=SHOWN_ARRAY)
            if len(self._headers) > HEADERS_KEPT:
                self._headers.popitem(last=False)
        return header

    def _template(self, stored: StoredModel) -> str | None:
        layers = [*stored.layers(MediaType.TEMPLATE), *stored.layers(MediaType.PROMPT)]
        return self._text(stored, layers[-1]) if layers else None

    def _text(self, stored: StoredModel, layer: Layer) -> str:
        return stored.path(layer).read_text(encoding="utf-8", errors="replace")

    def _parameters(self, stored: StoredModel) -> Mapping[str, object]:
        values: dict[str, object] = {}
        for layer in stored.layers(MediaType.PARAMS):
            read = self._json(stored, layer)
            if isinstance(read, dict):
                values.update(read)
        return values

    def _history(self, stored: StoredModel) -> tuple[Message, ...]:
        messages = []
        for layer in stored.layers(MediaType.MESSAGES):
            read = self._json(stored, layer)
            for one in read if isinstance(read, list) else ():
                if isinstance(one, dict):
                    messages.append(Message(str(one.get("role", "user")), str(one.get("content", ""))))
        return tuple(messages)

    def _json(self, stored: StoredModel, layer: Layer) -> object:
        try:
            return json.loads(self._text(stored, layer))
        except (ValueError, RecursionError) as error:
            raise BrokenManifest(f"layer {layer.digest} is no JSON: {error}") from None

    def _list(self) -> tuple[ModelSummary, ...]:
        """Summaries are kept as long as the model is the same object, and its weights are there."""
        found: dict[tuple[str, ...], tuple[StoredModel, ModelSummary]] = {}
        for stored in self._models.scan():
            kept = self._summaries.get(stored.name.key)
            models = stored.layers(MediaType.MODEL)
            there = bool(models) and stored.files.blob(models[0].digest).exists()
            if kept is None or kept[0] is not stored or not there:
                kept = (stored, self._summary(stored))
            found[stored.name.key] = kept
        self._summaries = found
        return tuple(summary for _, summary in found.values())

    def _summary(self, stored: StoredModel) -> ModelSummary:
        remote = None
        with contextlib.suppress(BrokenManifest):  # `show` says what is wrong
            remote = remote_of(stored.config)
        header, known = None, stub_capabilities(stored.config) if remote else tuple[str, ...]()
        models = stored.layers(MediaType.MODEL)
        if models:
            try:
                header = self._header(models[0].digest, stored.path(models[0]))
                known = self._capabilities(stored, header, self._template(stored))
            except Exception:  # a damaged file must not hide the other models; `show` says what is wrong
                known = ()
        return ModelSummary(
            name=stored.name.short,
            digest=stored.digest,
            size=0 if remote else stored.size,
            modified_at=stored.modified_at,
            details=details(stored.config, header, stored.alias_of),
            capabilities=known,
            remote_host=remote.text if remote else "",
            remote_model=remote.model if remote else "",
        )

    def _show(self, text: str, verbose: bool) -> ModelDetails:
        try:
            model = self._open(text)
        except CloudDisabled:
            raise CloudDisabled("remote model details are unavailable") from None
        header = read_header(model.path, arrays=True) if verbose and not model.remote else model.header
        return ModelDetails(
            name=model.name.short,
            modified_at=model.modified_at,
            details=details(model.config, model.header, model.alias_of),
            modelfile=modelfile_of(model),
            parameters=parameter_lines(model.parameters),
            template=model.template if model.template is not None else model.header.chat_template or "",
            system=model.system,
            license="\n".join(model.licenses),
            messages=model.history,
            model_info=stub_info(model.config) if model.remote else model_info(header),
            tensors=tuple(TensorInfo(one.name, one.type, tuple(one.shape)) for one in header.tensors),
            capabilities=model.capabilities,
            requires=model.config.requires,
            projector_info=self._projector_info(model, verbose),
            renderer=model.config.renderer,
            parser=model.config.parser,
            remote_host=model.remote.text if model.remote else "",
            remote_model=model.remote.model if model.remote else "",
        )

    def _projector_info(self, model: ModelOnDisk, verbose: bool) -> dict[str, object]:
        if not model.projectors:
            return {}
        return model_info(read_header(model.projectors[0], short_arrays=SHOWN_ARRAY, arrays=verbose))


def details(config: ModelConfig, header: GgufHeader | None, parent: str = "") -> Details:
    """What the config says, with the lengths from the header; `parent` is the model that an alias means."""
    return Details(
        parent_model=parent,
        format=config.model_format or "gguf",
        family=config.model_family,
        families=tuple(config.model_families or ()),
        parameter_size=config.model_type,
        quantization_level=config.file_type,
        context_length=config.context_length or (header.context_length if header else 0) or 0,
        embedding_length=config.embedding_length or (header.embedding_length if header else 0) or 0,
    )


def parameter_lines(parameters: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Parameters as (name, text) pairs; a list or a map becomes one pair an entry."""
    lines: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            lines += [(name, f"{key} {weight:g}") for key, weight in value.items() if isinstance(weight, (int, float))]
            continue
        for one in value if isinstance(value, (list, tuple)) else (value,):
            lines.append(
                (
                    name,
                    str(one).lower() if isinstance(one, bool) else _float(one) if isinstance(one, float) else str(one),
                )
            )
    return tuple(lines)


def _float(value: float) -> str:
    """The shortest text that is read back as this very number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def model_info(header: GgufHeader) -> dict[str, object]:
    """The header's key-values as `show` gives them (spec a.12): arrays the reader left out are empty."""
    info: dict[str, object] = {}
    for key, value in header.metadata.items():
        if key in {"general.name", "tokenizer.chat_template"}:
            continue
        if isinstance(value, GgufArray):
            info[key] = list(value.values or ())
        else:
            info[key] = value
    info["general.parameter_count"] = header.parameter_count
    return info


def modelfile_of(model: ModelOnDisk) -> str:
    """The Modelfile that would make this model again (spec f.4)."""
    source = str(model.path)
    if model.remote:
        source = ",".join(f"{host}/{model.remote.model}" for host in model.remote.hosts)
    files = [Command("from", (source,))]
    files += [Command("adapter", (str(path),)) for path in model.adapters]
    files += [Command("from", (str(path),)) for path in model.projectors]
    commands: list[Command] = []
    if model.draft is not None:
        commands.append(Command("draft", (str(model.draft),)))
    if model.template is not None:
        commands.append(Command("template", (model.template,)))
    if model.system:
        commands.append(Command("system", (model.system,)))
    for name in ("renderer", "parser", "requires"):
        if value := getattr(model.config, name):
            commands.append(Command(name, (value,)))
    commands += [Command("parameter", pair) for pair in parameter_lines(model.parameters)]
    commands += [Command("license", (text,)) for text in model.licenses]
    commands += [Command("message", (turn.role, turn.content)) for turn in model.history]
    head = (
        '# Modelfile generated by "corral show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        f"# FROM {model.shown}\n\n"
    )
    return head + render((*files, *in_order(commands)))
