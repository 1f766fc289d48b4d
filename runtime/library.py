"""The models on disk as the verbs need them: opened to be run, listed, and shown (spec a.11, a.12).

Owned by the service loop; reading files happens in threads. GGUF headers are kept by digest: bytes under a digest
never change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from corral.runtime.errors import BadRequest, CloudDisabled
from corral.runtime.prompt.parsers.families import family_of
from corral.runtime.remote.address import Remote, parse_hosts
from corral.runtime.verbs import Details, Message, ModelDetails, ModelSummary, TensorInfo
from corral.store.blobs import BlobStore
from corral.store.catalog import Catalog, Inventory, StoredModel
from corral.store.errors import BrokenManifest, ModelNotFound
from corral.store.gguf import GgufArray, GgufHeader, read_header
from corral.store.manifests import Layer, MediaType, ModelConfig
from corral.store.modelfile import Command, in_order, render
from corral.store.names import Digest, ModelName

HEADERS_KEPT = 2048
_NO_HEADER = GgufHeader(0, {}, (), 1, 0, 0)
SHOWN_ARRAY = 5
"""Longer arrays are shown empty unless asked for (spec a.12)."""
POOLED_TO_RANK = 4
"""`pooling_type` of models with a classification head (llama.cpp, LLAMA_POOLING_TYPE_RANK)."""


@dataclass(frozen=True, slots=True)
class ModelOnDisk:
    """A model with all its small parts read. `template` is None where the model's own Jinja template is to be used.

    One with a `remote` has its engine there: it has no weights here, and an empty header.
    `draft` is the file of the small model that guesses what this one will say, `adapters` are the LoRA files on the
    weights, `projectors` those that make images into what the model reads.
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

    @property
    def runner_key(self) -> str:
        """What two models must have in common to share a runner and what it has computed: weights and adapters."""
        return "+".join((self.weights.hex, *(path.name for path in self.adapters)))


class Library:
    """Reads models. Everything it returns is frozen."""

    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._headers: OrderedDict[Digest, GgufHeader] = OrderedDict()

    async def open(self, text: str) -> ModelOnDisk:
        """Read a model by the name a request gives.

        Raises:
            InvalidName: the text is no name.
            ModelNotFound: no such model, in the request's spelling.
            StoreError: the model is damaged.
        """
        return await asyncio.to_thread(self._open, text)

    async def inventory(self) -> Inventory:
        """Scan the store."""
        return await asyncio.to_thread(self._catalog.scan)

    async def list(self) -> tuple[ModelSummary, ...]:
        """All models, newest first; one whose weights cannot be read is listed without what they would say."""
        return await asyncio.to_thread(lambda: tuple(self._summary(one) for one in self._catalog.scan().models))

    async def show(self, text: str, *, verbose: bool) -> ModelDetails:
        """Everything about a model; raises as `open`."""
        return await asyncio.to_thread(self._show, text, verbose)

    def _open(self, text: str) -> ModelOnDisk:
        name = ModelName.parse(text)
        try:
            stored = self._catalog.find(name)
        except ModelNotFound:
            if name.tag == "cloud" or name.tag.endswith("-cloud"):
                raise CloudDisabled from None
            raise ModelNotFound(text) from None
        if remote := remote_of(stored.config):
            return self._stub(stored, remote)
        models = stored.layers(MediaType.MODEL)
        if not models:
            raise BrokenManifest(f"model '{text}' has no weights in the GGUF format")
        weights = models[0].digest
        header = self._header(weights)
        drafts = stored.layers(MediaType.DRAFT)
        template = self._template(stored)
        return ModelOnDisk(
            name=stored.name,
            shown=stored.name.short,
            digest=stored.digest,
            size=stored.size,
            modified_at=stored.modified_at,
            config=stored.config,
            weights=weights,
            path=self._blobs.path(weights),
            header=header,
            template=template,
            system="".join(self._text(layer) for layer in stored.layers(MediaType.SYSTEM)[-1:]),
            parameters=self._parameters(stored),
            history=self._history(stored),
            licenses=tuple(self._text(layer) for layer in stored.layers(MediaType.LICENSE)),
            capabilities=capabilities(header, template, stored.config.parser),
            draft=self._blobs.path(drafts[-1].digest) if drafts else None,
            adapters=self._files(stored, MediaType.ADAPTER),
            projectors=self._files(stored, MediaType.PROJECTOR),
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
            path=self._blobs.path(config),
            header=_NO_HEADER,
            template=self._template(stored),
            system="".join(self._text(layer) for layer in stored.layers(MediaType.SYSTEM)[-1:]),
            parameters=self._parameters(stored),
            history=self._history(stored),
            licenses=tuple(self._text(layer) for layer in stored.layers(MediaType.LICENSE)),
            capabilities=stub_capabilities(stored.config),
            remote=remote,
        )

    def _files(self, stored: StoredModel, kind: MediaType) -> tuple[Path, ...]:
        return tuple(self._blobs.path(layer.digest) for layer in stored.layers(kind))

    def _header(self, digest: Digest) -> GgufHeader:
        header = self._headers.get(digest)
        if header is None:
            header = self._headers[digest] = read_header(self._blobs.path(digest), short_arrays=SHOWN_ARRAY)
            if len(self._headers) > HEADERS_KEPT:
                self._headers.popitem(last=False)
        return header

    def _template(self, stored: StoredModel) -> str | None:
        layers = [*stored.layers(MediaType.TEMPLATE), *stored.layers(MediaType.PROMPT)]
        return self._text(layers[-1]) if layers else None

    def _text(self, layer: Layer) -> str:
        return self._blobs.path(layer.digest).read_text(encoding="utf-8", errors="replace")

    def _parameters(self, stored: StoredModel) -> Mapping[str, object]:
        values: dict[str, object] = {}
        for layer in stored.layers(MediaType.PARAMS):
            read = self._json(layer)
            if isinstance(read, dict):
                values.update(read)
        return values

    def _history(self, stored: StoredModel) -> tuple[Message, ...]:
        messages = []
        for layer in stored.layers(MediaType.MESSAGES):
            read = self._json(layer)
            for one in read if isinstance(read, list) else ():
                if isinstance(one, dict):
                    messages.append(Message(str(one.get("role", "user")), str(one.get("content", ""))))
        return tuple(messages)

    def _json(self, layer: Layer) -> object:
        try:
            return json.loads(self._text(layer))
        except (ValueError, RecursionError) as error:
            raise BrokenManifest(f"layer {layer.digest} is no JSON: {error}") from None

    def _summary(self, stored: StoredModel) -> ModelSummary:
        remote = None
        with contextlib.suppress(BrokenManifest):  # `show` says what is wrong
            remote = remote_of(stored.config)
        header, known = None, stub_capabilities(stored.config) if remote else tuple[str, ...]()
        models = stored.layers(MediaType.MODEL)
        if models and self._blobs.has(models[0].digest):
            try:
                header = self._header(models[0].digest)
                known = capabilities(header, self._template(stored), stored.config.parser)
            except Exception:  # a damaged file must not hide the other models; `show` says what is wrong
                known = ()
        return ModelSummary(
            name=stored.name.short,
            digest=stored.digest,
            size=0 if remote else stored.size,
            modified_at=stored.modified_at,
            details=details(stored.config, header),
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
            name=model.shown,
            modified_at=model.modified_at,
            details=details(model.config, model.header),
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
            remote_host=model.remote.text if model.remote else "",
            remote_model=model.remote.model if model.remote else "",
        )


def details(config: ModelConfig, header: GgufHeader | None) -> Details:
    """What the config says, with the lengths from the header."""
    return Details(
        format=config.model_format or "gguf",
        family=config.model_family,
        families=tuple(config.model_families or ()),
        parameter_size=config.model_type,
        quantization_level=config.file_type,
        context_length=config.context_length or (header.context_length if header else 0) or 0,
        embedding_length=config.embedding_length or (header.embedding_length if header else 0) or 0,
    )


def capabilities(header: GgufHeader, template: str | None, parser: str = "") -> tuple[str, ...]:
    """What the model can do here: one with a pooling type embeds or ranks, everything else completes text.

    It thinks, and calls tools, where the template that renders its chats knows of that, or the parser it names does
    (spec a.12).
    """
    pooling = header.metadata.get(f"{header.architecture}.pooling_type")
    if pooling is None:
        family = family_of(parser, template if template is not None else header.chat_template or "")
        known = {"completion": True, "tools": family.form is not None, "thinking": family.tags is not None}
        return tuple(name for name, has in known.items() if has)
    return ("rerank",) if pooling == POOLED_TO_RANK else ("embedding",)


def remote_of(config: ModelConfig) -> Remote | None:
    """Where a model's engine is, None where it is here (spec h.2)."""
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
