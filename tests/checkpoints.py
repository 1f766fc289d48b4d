"""Models as their makers publish them: folders of safetensors, config and tokenizer, written by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[np.float32]], kind: str = "F32") -> Path:
    """Write a file; BF16 cuts the numbers off, so they should fit."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = []
    at = 0
    for name, tensor in tensors.items():
        raw = _bytes(tensor, kind)
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
    return path


def _bytes(tensor: NDArray[np.float32], kind: str) -> bytes:
    if kind == "BF16":
        return (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return tensor.astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()


def write_sharded(folder: Path, tensors: Tensors, kind: str, shards: int) -> None:
    """Write tensors in several files with their index."""
    weight_map: dict[str, str] = {}
    names = list(tensors)
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        write_safetensors(folder / file, part, kind)
        weight_map |= dict.fromkeys(part, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def byte_letters() -> list[str]:
    """The letters GPT-2 stands in for the 256 bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in shown] + [chr(256 + number) for number in range(256 - len(shown))]


def byte_level_tokenizer(split: str, merges: Sequence[tuple[str, str]], specials: Sequence[str]) -> dict[str, Any]:
    """A byte-level `tokenizer.json` of all bytes, some merges and special tokens behind them."""
    tokens = [*byte_letters(), *(left + right for left, right in merges)]
    steps = [{"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}]
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False})
    return {
        "added_tokens": [
            {"id": len(tokens) + number, "content": text, "special": True} for number, text in enumerate(specials)
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": {"type": "ByteLevel"},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "ignore_merges": "{1,3}" in split,
            "vocab": {text: number for number, text in enumerate(tokens)},
            "merges": [f"{left} {right}" for left, right in merges],
        },
    }


def sentencepiece_model(pieces: Sequence[tuple[str, float, int]], *, prefixes: bool = True, kind: int = 2) -> bytes:
    """A `tokenizer.model`: pieces with their scores and kinds, and whether text begins with a space."""
    out = b""
    for text, score, piece_kind in pieces:
        raw = text.encode()
        out += _message(1, _message(1, raw) + b"\x15" + struct.pack("<f", score) + b"\x18" + _varint(piece_kind))
    return out + _message(2, b"\x18" + _varint(kind)) + _message(3, b"\x18" + _varint(prefixes))


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def write_smollm2(source: Path, folder: Path) -> Path:
    """The starter model's GGUF file as the folder it was made from: dequantized, in two files, with its tokenizer."""
    reader = gguf.GGUFReader(source)
    heads = {"attn_q": _value(reader, "llama.attention.head_count")}
    heads["attn_k"] = _value(reader, "llama.attention.head_count_kv")
    tensors: Tensors = {}
    for tensor in reader.tensors:
        values = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        stem = tensor.name.removesuffix(".weight")
        for part, count in heads.items():
            if stem.endswith(part):
                rows = values.shape[0] // count // 2
                values = values.reshape(count, rows, 2, -1).swapaxes(1, 2).reshape(values.shape)
        tensors[f"{_published(stem)}.weight"] = values
    write_sharded(folder, tensors, "F32", 2)
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": _value(reader, "llama.embedding_length"),
            "num_hidden_layers": _value(reader, "llama.block_count"),
            "num_attention_heads": heads["attn_q"],
            "num_key_value_heads": heads["attn_k"],
            "intermediate_size": _value(reader, "llama.feed_forward_length"),
            "max_position_embeddings": _value(reader, "llama.context_length"),
            "rms_norm_eps": _value(reader, "llama.attention.layer_norm_rms_epsilon"),
            "rope_theta": _value(reader, "llama.rope.freq_base"),
            "tie_word_embeddings": True,
        },
    )
    tokens, kinds = _value(reader, "tokenizer.ggml.tokens"), _value(reader, "tokenizer.ggml.token_type")
    special = [{"id": n, "content": tokens[n], "special": True} for n, kind in enumerate(kinds) if kind == 3]
    steps = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}]
    write_json(
        folder / "tokenizer.json",
        {
            "added_tokens": special,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "decoder": {"type": "ByteLevel"},
            "model": {
                "type": "BPE",
                "vocab": {text: number for number, text in enumerate(tokens)},
                "merges": _value(reader, "tokenizer.ggml.merges"),
            },
        },
    )
    template = _value(reader, "tokenizer.chat_template")
    roles = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    write_json(folder / "tokenizer_config.json", {**roles, "pad_token": "<|im_end|>", "chat_template": template})
    write_json(folder / "generation_config.json", {"eos_token_id": 2})
    return folder


_PUBLISHED = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _published(stem: str) -> str:
    if not stem.startswith("blk."):
        return _PUBLISHED[stem]
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_PUBLISHED[part]}"


def _value(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    assert field is not None
    return field.contents()
