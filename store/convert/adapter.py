"""LoRA adapters: the small matrices of a fine-tuning, to be put on a GGUF model when it is loaded."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import gguf

from corral.store.convert.checkpoint import Checkpoint, files_of
from corral.store.convert.conversion import Converted
from corral.store.convert.llama import for_turning
from corral.store.convert.safetensors import FLOAT_KINDS, StoredTensor
from corral.store.convert.stream import FILE_TYPES, FloatType, OnProgress, Sink, Weight, write_gguf
from corral.store.errors import ConversionError, UnsupportedArchitecture
from corral.store.gguf import GgufHeader

_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
}
_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
_MOST_LAYERS = 1024


def convert_adapter(
    source: Path | Mapping[str, Path],
    target: Path | Sink,
    *,
    base: GgufHeader,
    float_type: FloatType = FloatType.F16,
    on_progress: OnProgress = lambda done, total: None,
) -> Converted:
    """Convert an adapter; blocks its thread. Arguments and errors as `convert`.

    Args:
        base: the model it was trained on: its family, and the heads its rows belong to, are not in an adapter's files.
    """
    checkpoint = Checkpoint(files_of(source) if isinstance(source, Path) else source)
    settings = checkpoint.need("adapter_config.json")
    if settings.text("peft_type") not in ("LORA", "") or settings.flag("use_dora") or settings.flag("fan_in_fan_out"):
        raise ConversionError("adapter_config.json: only plain LoRA adapters are converted")
    architecture = _ARCHITECTURES.get(base.architecture)
    if architecture is None:
        raise UnsupportedArchitecture(base.architecture)
    weights = _weights(checkpoint, architecture, base)
    alpha = settings.real("lora_alpha")
    if settings.flag("use_rslora"):
        # llama.cpp divides alpha by the rank; this kind of adapter by its root.
        alpha *= math.sqrt(settings.number("r", least=1))
    writer = gguf.GGUFWriter(None, base.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_file_type(FILE_TYPES[float_type])
    with ExitStack() as stack:
        sink = stack.enter_context(target.open("wb")) if isinstance(target, Path) else target
        size = write_gguf(writer, weights, sink, float_type, on_progress)
    parameters = sum(math.prod(weight.shape) for weight in weights)
    return Converted(base.architecture, parameters, len(weights), size)


def _weights(checkpoint: Checkpoint, architecture: gguf.MODEL_ARCH, base: GgufHeader) -> list[Weight]:
    names = gguf.get_tensor_name_map(architecture, min(base.block_count, _MOST_LAYERS))
    shapes = {tensor.name: tensor.shape for tensor in base.tensors}
    pairs: defaultdict[str, dict[str, StoredTensor]] = defaultdict(dict)
    for name, tensor in checkpoint.tensors.items():
        found = _NAME.fullmatch(name)
        target = names.get_name(f"{found[1]}.weight", (".weight",)) if found else None
        if found is None or target is None or target not in shapes:
            raise ConversionError(f"tensor {name} belongs to nothing that the base model has")
        if tensor.kind not in FLOAT_KINDS or len(tensor.shape) != 2 or 0 in tensor.shape:
            raise ConversionError(f"tensor {name} is no matrix of numbers")
        pairs[target][found[2]] = tensor
    weights = []
    for target, pair in pairs.items():
        if set(pair) != {"A", "B"}:
            raise ConversionError(f"the adapter has only one half of {target}")
        first, second = pair["A"], pair["B"]
        columns, rows = shapes[target][:2]
        if first.shape[0] != second.shape[1] or (second.shape[0], first.shape[1]) != (rows, columns):
            raise ConversionError(f"the adapter's {target} is not of the base model's shape; it is for another model")
        weights.append(Weight(f"{target}.lora_a", first.shape, (first,)))
        weights.append(_second(target, second, base))
    return weights


def _second(target: str, tensor: StoredTensor, base: GgufHeader) -> Weight:
    """The half whose rows are the layer's: in Llama's order of queries and keys, as the base model's are."""
    heads = max(1, base.number(f"{base.architecture}.attention.head_count"))
    kv_heads = max(1, base.number(f"{base.architecture}.attention.head_count_kv") or heads)
    rearrange = None
    if base.architecture == "llama":
        for part, count in ((".attn_q.", heads), (".attn_k.", kv_heads)):
            if part in target:
                rearrange = for_turning(target, tensor.shape, count)
    return Weight(f"{target}.lora_b", tensor.shape, (tensor,), rearrange=rearrange)
