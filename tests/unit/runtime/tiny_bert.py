"""A random encoder of a few kilobytes with a WordPiece vocabulary, written as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HEADS, LAYERS, FEED, CTX = 32, 2, 2, 64, 128
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_bert(path: Path, pooling: gguf.PoolingType = gguf.PoolingType.MEAN) -> Path:
    """Write an encoder that pools in that way."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    # The GGUF form of WordPiece: what begins a word is marked, what goes on is bare.
    tokens = [*SPECIALS, *("▁" + letter for letter in LETTERS), *LETTERS, "▁the", "▁fox", "▁ran"]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(tokens) - len(SPECIALS)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    for name, tensor in _tensors(len(tokens)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(num_tokens: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(11)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    tensors = {
        "token_embd.weight": matrix(num_tokens, WIDTH),
        "token_types.weight": matrix(2, WIDTH),
        "position_embd.weight": matrix(CTX, WIDTH),
        "token_embd_norm.weight": matrix(WIDTH) + 1,
        "token_embd_norm.bias": matrix(WIDTH),
    }
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"blk.{layer}.{part}.weight"] = matrix(WIDTH, WIDTH)
            tensors[f"blk.{layer}.{part}.bias"] = matrix(WIDTH)
        for part in ("attn_output_norm", "layer_output_norm"):
            tensors[f"blk.{layer}.{part}.weight"] = matrix(WIDTH) + 1
            tensors[f"blk.{layer}.{part}.bias"] = matrix(WIDTH)
        tensors[f"blk.{layer}.ffn_up.weight"] = matrix(FEED, WIDTH)
        tensors[f"blk.{layer}.ffn_up.bias"] = matrix(FEED)
        tensors[f"blk.{layer}.ffn_down.weight"] = matrix(WIDTH, FEED)
        tensors[f"blk.{layer}.ffn_down.bias"] = matrix(WIDTH)
    return tensors
