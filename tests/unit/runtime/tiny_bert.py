"""A random encoder of a few kilobytes with a WordPiece vocabulary, written as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HEADS, LAYERS, FEED, CTX = 32, 2, 2, 64, 128
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3
# The GGUF form of WordPiece: what begins a word is marked, what goes on is bare.
TOKENS = [*SPECIALS, *("▁" + letter for letter in LETTERS), *LETTERS, "▁the", "▁fox", "▁ran"]
PAIR_TEMPLATE = "[CLS]{query}[SEP]{document}[SEP]"


def write_bert(
    path: Path,
    pooling: gguf.PoolingType = gguf.PoolingType.MEAN,
    *,
    add_eos: bool = False,
    template: str = "",
    head: bool = True,
    score_bias: float = 0.25,
) -> Path:
    """Write an encoder that pools in that way; one that ranks has a classification head where `head` says so."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(TOKENS) - len(SPECIALS)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_mask_token_id(4)
    if add_eos:
        # As the converter writes a tokenizer whose pairs are [CLS] A [SEP] B [SEP].
        writer.add_add_eos_token(True)
        writer.add_add_sep_token(False)
    if template:
        writer.add_chat_template([{"name": "rerank", "template": template}])
    tensors = bert_tensors()
    if pooling is gguf.PoolingType.RANK and head:
        tensors |= head_tensors(score_bias)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bert_tensors() -> dict[str, NDArray[np.float32]]:
    """Return the encoder's weights, the same every time."""
    random = np.random.default_rng(11)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    tensors = {
        "token_embd.weight": matrix(len(TOKENS), WIDTH),
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


def head_tensors(score_bias: float = 0.25) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a classification head with one output."""
    random = np.random.default_rng(13)
    return {
        "cls.weight": random.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32),
        "cls.bias": random.normal(0, 0.3, WIDTH).astype(np.float32),
        "cls.output.weight": random.normal(0, 0.6, (1, WIDTH)).astype(np.float32),
        "cls.output.bias": np.array([score_bias], dtype=np.float32),
    }


def token_ids(text: str) -> list[int]:
    """Return the tokens of words in lower case."""
    ids = []
    for word in text.split():
        if "▁" + word in TOKENS:
            ids.append(TOKENS.index("▁" + word))
        else:
            ids += [TOKENS.index("▁" + word[0]), *(TOKENS.index(letter) for letter in word[1:])]
    return ids


def score(tokens: list[int]) -> float:
    """Compute with numpy what a reranker of these weights says of a pair in tokens."""
    weights = {name: tensor.astype(np.float64) for name, tensor in (bert_tensors() | head_tensors()).items()}

    def norm(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        spread = np.sqrt(values.var(axis=-1, keepdims=True) + 1e-12)
        scaled: NDArray[np.float64] = (values - values.mean(axis=-1, keepdims=True)) / spread
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    hidden = weights["token_embd.weight"][tokens] + weights["token_types.weight"][0]
    hidden = norm(hidden + weights["position_embd.weight"][: len(tokens)], "token_embd_norm")
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        query, key, value = (linear(hidden, f"{block}.attn_{part}") for part in "qkv")
        attended = np.zeros_like(hidden)
        for start in range(0, WIDTH, size):
            part = slice(start, start + size)
            likeness = np.exp(query[:, part] @ key[:, part].T / np.sqrt(size))
            attended[:, part] = likeness / likeness.sum(axis=1, keepdims=True) @ value[:, part]
        hidden = norm(linear(attended, f"{block}.attn_output") + hidden, f"{block}.attn_output_norm")
        up = linear(hidden, f"{block}.ffn_up")
        bent = up / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        hidden = norm(linear(bent, f"{block}.ffn_down") + hidden, f"{block}.layer_output_norm")
    return float(linear(np.tanh(linear(hidden[0], "cls")), "cls.output")[0])
