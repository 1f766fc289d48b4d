"""Random models of a few kilobytes, one for each way a model remembers, written as GGUF files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HEADS, LAYERS, FEED, CTX = 32, 2, 2, 64, 1024
WINDOW = 32
WORDS = ["▁the", "▁fox", "▁ran", "▁and", "▁saw", "▁a", "▁dog", "▁cat", "\n", "é", "🦊"]
CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)

Tensor = NDArray[np.float32]


def write_tiny(
    path: Path,
    kind: str,
    *,
    template: str = CHAT_TEMPLATE,
    seed: int = 7,
    sharpness: float = 1.0,
    words: Sequence[str] = WORDS,
) -> Path:
    """Write a model of `kind`: "full", "sliding" or "recurrent"; a higher `sharpness` makes it surer of its words."""
    arch = {"full": "llama", "sliding": "gemma3", "recurrent": "mamba"}[kind]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    num_tokens = _add_vocabulary(writer, words)
    writer.add_chat_template(template)
    random = np.random.default_rng(seed)
    tensors = {"token_embd.weight": _matrix(random, num_tokens, WIDTH), "output_norm.weight": _ones(WIDTH)}
    if kind == "recurrent":
        _add_mamba(writer, tensors, random)
    else:
        _add_attention(writer, tensors, random, gemma=kind == "sliding")
    tensors["output.weight"] = sharpness * _matrix(random, num_tokens, WIDTH)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter, words: Sequence[str]) -> int:
    specials = ["<unk>", "<s>", "</s>"]
    tokens = specials + [f"<0x{byte:02X}>" for byte in range(256)] + list(words)
    types = [2, 3, 3] + [6] * 256 + [1] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (3 + 256) + [-float(i + 1) for i in range(len(words))])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    return len(tokens)


def _add_attention(
    writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator, *, gemma: bool
) -> None:
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    size = WIDTH // HEADS
    writer.add_key_length(size)
    writer.add_value_length(size)
    if gemma:
        writer.add_sliding_window(WINDOW)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        tensors[f"{block}.attn_norm.weight"] = _ones(WIDTH)
        tensors[f"{block}.ffn_norm.weight"] = _ones(WIDTH)
        for name in ("q", "k", "v", "output"):
            tensors[f"{block}.attn_{name}.weight"] = _matrix(random, WIDTH, WIDTH)
        if gemma:
            for name in ("attn_q_norm", "attn_k_norm"):
                tensors[f"{block}.{name}.weight"] = _ones(size)
            for name in ("post_attention_norm", "post_ffw_norm"):
                tensors[f"{block}.{name}.weight"] = _ones(WIDTH)
        tensors[f"{block}.ffn_gate.weight"] = _matrix(random, FEED, WIDTH)
        tensors[f"{block}.ffn_up.weight"] = _matrix(random, FEED, WIDTH)
        tensors[f"{block}.ffn_down.weight"] = _matrix(random, WIDTH, FEED)


def _add_mamba(writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator) -> None:
    inner, state, conv, rank = 2 * WIDTH, 8, 4, 4
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        tensors[f"{block}.attn_norm.weight"] = _ones(WIDTH)
        tensors[f"{block}.ssm_in.weight"] = _matrix(random, 2 * inner, WIDTH)
        tensors[f"{block}.ssm_conv1d.weight"] = _matrix(random, inner, conv)
        tensors[f"{block}.ssm_conv1d.bias"] = _matrix(random, 1, inner)[0]
        tensors[f"{block}.ssm_x.weight"] = _matrix(random, rank + 2 * state, inner)
        tensors[f"{block}.ssm_dt.weight"] = _matrix(random, inner, rank)
        tensors[f"{block}.ssm_dt.bias"] = _matrix(random, 1, inner)[0]
        tensors[f"{block}.ssm_a"] = -np.abs(_matrix(random, inner, state)) - np.float32(0.1)
        tensors[f"{block}.ssm_d"] = _ones(inner)
        tensors[f"{block}.ssm_out.weight"] = _matrix(random, WIDTH, inner)


def _matrix(random: np.random.Generator, rows: int, columns: int) -> Tensor:
    return random.normal(0, 0.3, (rows, columns)).astype(np.float32)


def _ones(count: int) -> Tensor:
    return np.ones(count, dtype=np.float32)
