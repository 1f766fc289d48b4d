"""What is told of models, on disk and in memory, and of removing them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from corral.runtime.conversation import Message
from corral.runtime.snapshot import EngineHost


class Details(msgspec.Struct, frozen=True):
    """What the GGUF header and the config say in short."""

    parent_model: str = ""
    format: str = "gguf"
    family: str = ""
    families: tuple[str, ...] = ()
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int = 0
    embedding_length: int = 0


class ModelSummary(msgspec.Struct, frozen=True):
    """A model on disk. `digest` is the manifest file's sha256 in hex, `size` its bytes with all layers.

    One whose engine is elsewhere has a `remote_host`, several comma separated, is `remote_model` there, and no size.
    """

    name: str
    digest: str
    size: int
    modified_at: datetime
    details: Details
    capabilities: tuple[str, ...] = ()
    remote_host: str = ""
    remote_model: str = ""

    @property
    def chats(self) -> bool:
        """Whether it completes text, as one does of which no capabilities are told."""
        return not self.capabilities or "completion" in self.capabilities


class TensorInfo(msgspec.Struct, frozen=True):
    """A tensor as the GGUF header lists it."""

    name: str
    type: str
    shape: tuple[int, ...]


class ModelDetails(msgspec.Struct, frozen=True):
    """Everything `show` says of a model (spec a.12). `parameters` are in Modelfile order, a repeated name repeats.

    `projector_info` is the header of the file that makes images into what the model reads, empty where there is none.
    """

    name: str
    modified_at: datetime
    details: Details
    modelfile: str
    parameters: tuple[tuple[str, str], ...] = ()
    template: str = ""
    system: str = ""
    license: str = ""
    messages: tuple[Message, ...] = ()
    model_info: Mapping[str, object] = msgspec.field(default_factory=dict)
    tensors: tuple[TensorInfo, ...] = ()
    capabilities: tuple[str, ...] = ()
    requires: str = ""
    projector_info: Mapping[str, object] = msgspec.field(default_factory=dict)
    renderer: str = ""
    parser: str = ""
    remote_host: str = ""
    remote_model: str = ""


class LoadedModel(msgspec.Struct, frozen=True):
    """A model in memory, as `ps` lists it; `expires_at` is None for ever. Sizes in bytes.

    One whose engine is elsewhere is in use rather than in memory: `remote_host` and `remote_model` are as in
    `ModelSummary`, `hosts` says how those servers are, and `requests` how many of it are in flight.
    """

    name: str
    digest: str
    size: int
    size_vram: int
    details: Details
    context_length: int
    expires_at: datetime | None
    remote_host: str = ""
    remote_model: str = ""
    requests: int = 0
    hosts: tuple[EngineHost, ...] = ()


class DeletePlan(msgspec.Struct, frozen=True):
    """What deleting some models would do: bytes freed, bytes that stay because others share them, and who shares.

    `shared_with_trash` are those that share among the deleted ones that can be restored. `kept_s` is how long these
    could be restored after `trash`, and not until then are their bytes free; 0 where there is no trash.
    """

    models: tuple[str, ...]
    frees: int
    keeps: int
    shared_with: tuple[str, ...] = ()
    in_memory: tuple[str, ...] = ()
    shared_with_trash: tuple[str, ...] = ()
    kept_s: float = 0.0
