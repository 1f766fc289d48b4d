"""What the families of decoders have in common: their numbers, and which tensor is which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import ClassVar

import gguf

from corral.store.convert.bpe import byte_level_vocabulary, is_byte_level
from corral.store.convert.checkpoint import Checkpoint, Config
from corral.store.convert.rope import add_rope
from corral.store.convert.safetensors import FLOAT_KINDS, StoredTensor
from corral.store.convert.sentencepiece import sentencepiece_vocabulary, vocabulary_from_merges
from corral.store.convert.stream import Weight
from corral.store.convert.vocabulary import Vocabulary
from corral.store.errors import ConversionError

_MOST_LAYERS = 1024
_MOST_HEADS = 1 << 16
_SUFFIXES = (".weight", ".bias")
# Routers and tables of positions are small, and rounding them costs most (llama.cpp's converter keeps them so too).
_EXACT = ("ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")


class Family:
    """Decoders in Llama's form, with rotary embeddings and RMS norms; subclasses say what they do otherwise."""

    architecture: ClassVar[gguf.MODEL_ARCH]
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)
    """What names of tensors begin with, the longest first; names are looked up without."""
    skipped: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of what is not taken along."""
    tied: ClassVar[bool] = False
    """Whether the output is the embeddings where the config does not say."""
    rope_base: ClassVar[float] = 10_000.0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = self.read_config(checkpoint.config)
        self.layers = self.config.number("num_hidden_layers", "n_layer", "n_layers", least=1, most=_MOST_LAYERS)
        self.heads = self.config.number("num_attention_heads", "n_head", least=1, most=_MOST_HEADS)
        self.kv_heads = self.config.number("num_key_value_heads", default=self.heads, least=1, most=_MOST_HEADS)
        self.width = self.config.number("hidden_size", "n_embd", least=1)
        self.head_width = self.config.number("head_dim", default=self.width // self.heads, least=1)
        self._names = gguf.get_tensor_name_map(self.architecture, self.layers)

    def read_config(self, config: Config) -> Config:
        """The part of the config that is about text."""
        return config

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """Write what the model is; returns the tensors that follow from the config.

        Raises:
            ConversionError: the config lacks something, or says what cannot be.
        """
        config = self.config
        writer.add_context_length(config.number("max_position_embeddings"))
        writer.add_embedding_length(self.width)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(config.number("intermediate_size"))
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_layer_norm_rms_eps(config.real("rms_norm_eps", default=1e-6))
        if config.has("head_dim") or self.head_width * self.heads != self.width:
            writer.add_key_length(self.head_width)
            writer.add_value_length(self.head_width)
        return add_rope(writer, config, self.rope_dimensions(), base=self.rope_base)

    def rope_dimensions(self) -> int:
        """How much of a head is turned by its position."""
        return self.head_width

    def vocabulary(self) -> Vocabulary:
        """The tokenizer.

        Raises:
            ConversionError: it is missing, or of a kind that is not supported.
        """
        rows = self.embedding_rows()
        tokenizer = self.checkpoint.json("tokenizer.json")
        if tokenizer is not None and is_byte_level(tokenizer):
            return byte_level_vocabulary(self.checkpoint, tokenizer, rows)
        pieces = self.checkpoint.bytes("tokenizer.model")
        if pieces is not None:
            return sentencepiece_vocabulary(self.checkpoint, pieces, rows)
        if tokenizer is not None:
            return vocabulary_from_merges(self.checkpoint, tokenizer, rows)
        raise ConversionError("tokenizer.json and tokenizer.model are missing: a model is converted from its folder")

    def embedding_rows(self) -> int:
        """How many tokens the model knows."""
        for name, tensor in self.checkpoint.tensors.items():
            if self.gguf_name(name) == "token_embd.weight" and len(tensor.shape) == 2:
                return tensor.shape[0]
        raise ConversionError("the embeddings of the tokens are missing: not all files of the model are there")

    def weights(self) -> list[Weight]:
        """All tensors of the file to be, from those of the checkpoint.

        Raises:
            ConversionError: one is missing, unknown, or quantized.
        """
        if self.checkpoint.config.has("quantization_config"):
            raise ConversionError("these weights are quantized already; convert the model they were made from")
        made: dict[str, Weight] = {}
        for weight in self._made():
            if weight.name in made:
                raise ConversionError(f"two tensors are {weight.name}")
            made[weight.name] = weight
        self._check_layers(made)
        return list(made.values())

    def _made(self) -> Iterator[Weight]:
        groups: defaultdict[str, list[tuple[str, StoredTensor]]] = defaultdict(list)
        for name, tensor in self.checkpoint.tensors.items():
            if self._is_skipped(name):
                continue
            if tensor.kind not in FLOAT_KINDS:
                raise ConversionError(f"tensor {name} is {tensor.kind}: only F32, F16 and BF16 are converted")
            if len(tensor.shape) > 4 or 0 in tensor.shape:
                raise ConversionError(f"tensor {name} has a shape that cannot be")
            found = self.gguf_name(name)
            if found is None:
                raise ConversionError(f'tensor {name} is none that a "{self.arch_name}" model has')
            groups[found].append((name, tensor))
        for found, sources in groups.items():
            yield self.weight(found, sources)

    @property
    def arch_name(self) -> str:
        """What GGUF calls the family."""
        return gguf.MODEL_ARCH_NAMES[self.architecture]

    def gguf_name(self, name: str) -> str | None:
        """What GGUF calls a tensor of the checkpoint; None for one the family does not have."""
        found: str | None = self._names.get_name("model." + self._bare(name), _SUFFIXES)
        return found or self._names.get_name(self._bare(name), _SUFFIXES)

    def weight(self, name: str, sources: list[tuple[str, StoredTensor]]) -> Weight:
        """Make a tensor out of what the checkpoint has of it, which is one tensor but for experts."""
        if len(sources) != 1:
            raise ConversionError(f"{len(sources)} tensors are {name}")
        ((_, source),) = sources
        return Weight(name, source.shape, (source,), exact=name.endswith((*_EXACT, "_norm.weight")))

    def _bare(self, name: str) -> str:
        for prefix in self.prefixes:
            if name.startswith(prefix):
                return name.removeprefix(prefix)
        return name

    def _is_skipped(self, name: str) -> bool:
        bare = self._bare(name)
        if name.startswith(self.skipped) or bare.startswith(self.skipped):
            return True
        if name.endswith("lm_head.weight"):
            return self.checkpoint.config.flag("tie_word_embeddings", self.tied)
        return name.endswith((".rotary_emb.inv_freq", ".position_ids", ".masked_bias"))

    def _check_layers(self, made: dict[str, Weight]) -> None:
        """Every layer has what another has: what lacks a file is seen here, and not when it is loaded."""
        layers: dict[int, set[str]] = {number: set() for number in range(self.layers)}
        for name in made:
            head, _, rest = name.partition(".")
            place, _, part = rest.partition(".")
            if head == "blk" and int(place) in layers:
                layers[int(place)].add(part)
        everything = set().union(*layers.values())
        for number, parts in layers.items():
            for part in sorted(everything - parts):
                raise ConversionError(f"layer {number} has no {part}: not all files of the model are there")
        if not everything:
            raise ConversionError("the layers of the model are missing: not all its files are there")
