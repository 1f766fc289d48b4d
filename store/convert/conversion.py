"""From the files of a model to one GGUF file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import gguf

from corral.store.convert.bert import Bert, NomicBert
from corral.store.convert.checkpoint import Checkpoint, files_of
from corral.store.convert.family import Family
from corral.store.convert.gemma import Gemma2, Gemma3
from corral.store.convert.llama import Llama, Mixtral
from corral.store.convert.phi import Phi3
from corral.store.convert.qwen import Qwen2, Qwen3
from corral.store.convert.specials import add_specials
from corral.store.convert.stream import FILE_TYPES, FloatType, OnProgress, Sink, write_gguf
from corral.store.errors import ConversionError, UnsupportedArchitecture

FAMILIES: Mapping[str, type[Family]] = {
    "LlamaForCausalLM": Llama,
    "MistralForCausalLM": Llama,
    "MixtralForCausalLM": Mixtral,
    "Qwen2ForCausalLM": Qwen2,
    "Qwen3ForCausalLM": Qwen3,
    "Gemma2ForCausalLM": Gemma2,
    "Gemma3ForCausalLM": Gemma3,
    "Gemma3ForConditionalGeneration": Gemma3,
    "Phi3ForCausalLM": Phi3,
    "BertModel": Bert,
    "NomicBertModel": NomicBert,
}
"""What a config's `architectures` may begin with."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written: `architecture` as GGUF has it, `parameters` the count of weights, `size` in bytes."""

    architecture: str
    parameters: int
    tensors: int
    size: int


def convert(
    source: Path | Mapping[str, Path],
    target: Path | Sink,
    *,
    float_type: FloatType = FloatType.F16,
    on_progress: OnProgress = lambda done, total: None,
    name: str = "",
) -> Converted:
    """Convert a model; blocks its thread.

    Args:
        source: a folder, or its files by their names in it.
        target: the file to be, which is left unfinished when something is raised; or what takes its bytes.
        float_type: how matrices are written.
        on_progress: told bytes done and bytes in all, every few megabytes; what it raises ends the conversion.
        name: what the model is called, where its config does not say.

    Raises:
        UnsupportedArchitecture: the model is of a family that is not converted.
        ConversionError: a file is missing or broken, or the tokenizer is of no known kind.
        OSError: the target cannot be written.
    """
    checkpoint = Checkpoint(files_of(source) if isinstance(source, Path) else source)
    family = _family(checkpoint)
    weights = family.weights()
    writer = gguf.GGUFWriter(None, family.arch_name)
    writer.add_type(gguf.GGUFType.MODEL)
    if shown := _name(checkpoint) or name:
        writer.add_name(shown)
    weights = family.add_metadata(writer) + weights
    _add_pooling(writer, checkpoint)
    vocabulary = family.vocabulary()
    writer.add_vocab_size(len(vocabulary.tokens))
    vocabulary.add_to(writer)
    add_specials(writer, checkpoint, vocabulary)
    writer.add_file_type(FILE_TYPES[float_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    with ExitStack() as stack:
        sink = stack.enter_context(target.open("wb")) if isinstance(target, Path) else target
        size = write_gguf(writer, weights, sink, float_type, on_progress)
    parameters = sum(math.prod(weight.shape) for weight in weights)
    return Converted(family.arch_name, parameters, len(weights), size)


def check(files: Mapping[str, Path]) -> None:
    """Look at what can be seen without reading the weights: blocks its thread for their headers.

    Raises:
        UnsupportedArchitecture, ConversionError: as `convert` would.
    """
    _family(Checkpoint(files)).weights()


def _family(checkpoint: Checkpoint) -> Family:
    named = checkpoint.config.items("architectures")
    architecture = str(named[0])[:100] if named else ""
    if not architecture:
        raise ConversionError("config.json names no architecture")
    kind = FAMILIES.get(architecture)
    if kind is None:
        raise UnsupportedArchitecture(architecture)
    return kind(checkpoint)


def _name(checkpoint: Checkpoint) -> str:
    """The last part of where the model came from, as its config may say."""
    return re.split(r"[/\\]", checkpoint.config.text("_name_or_path").rstrip("/\\"))[-1]


def _add_pooling(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    """How an embedder makes one vector of many, as sentence-transformers' `1_Pooling/config.json` says."""
    if ".Dense" in (checkpoint.text("modules.json") or ""):
        raise ConversionError("modules.json has a dense layer after pooling, which is not supported")
    pooling = checkpoint.json("1_Pooling/config.json")
    if pooling is None:
        return
    kinds = {
        "pooling_mode_mean_tokens": gguf.PoolingType.MEAN,
        "pooling_mode_cls_token": gguf.PoolingType.CLS,
        "pooling_mode_lasttoken": gguf.PoolingType.LAST,
    }
    for key, kind in kinds.items():
        if pooling.flag(key):
            writer.add_pooling_type(kind)
            return
    raise ConversionError("1_Pooling/config.json pools in a way that is not supported")
