"""Random models of a few kilobytes, one for each way a model remembers, written as GGUF files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HEADS, LAYERS, FEED, CTX = 32, 2, 2, 64, 1024
WINDOW = 32
STATE, RANK = 8, 4
EXPERTS = 4
WORDS = ["▁the", "▁fox", "▁ran", "▁and", "▁saw", "▁a", "▁dog", "▁cat", "\n", "é", "🦊"]
CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)
RANK_TEMPLATE = "<s>the {query} and {document}</s>"

Tensor = NDArray[np.float32]


def write_tiny(
    path: Path,
    kind: str,
    *,
    template: str = CHAT_TEMPLATE,
    seed: int = 7,
    sharpness: float = 1.0,
    words: Sequence[str] = WORDS,
    marks: Sequence[str] = (),
    split: int = 0,
    added: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model of `kind`: "full", "sliding", "recurrent", "hybrid", "experts": a mixture of them, "ranker",
    or "grid": one whose positions have three parts, for images (M-RoPE).

    "experts" has one head of 32 values, which the blocks of a quantized cache divide; the others have two of 16. A
    higher `sharpness` makes a model surer of its words; `marks` are control tokens at the vocabulary's end. With
    `split` that many tensors go into each of several files. What is `added` goes on top of the tensors of these names.
    """
    arch = {"full": "llama", "sliding": "gemma3", "recurrent": "mamba", "hybrid": "jamba"}
    arch |= {"experts": "llama", "ranker": "qwen3", "grid": "qwen2vl"}
    writer = gguf.GGUFWriter(path, arch[kind], split_max_tensors=split)
    writer.add_context_length(CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    num_tokens = _add_vocabulary(writer, words, marks)
    if kind == "ranker":
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": RANK_TEMPLATE}])
    else:
        writer.add_chat_template(template)
    random = np.random.default_rng(seed)
    tensors = {"token_embd.weight": _matrix(random, num_tokens, WIDTH), "output_norm.weight": _ones(WIDTH)}
    if kind == "recurrent":
        _add_mamba(writer, tensors, random)
    elif kind == "hybrid":
        _add_jamba(writer, tensors, random)
    else:
        _add_attention(writer, tensors, random, kind)
    if kind == "ranker":
        tensors["cls.output.weight"] = _matrix(random, 2, WIDTH)
    tensors["output.weight"] = sharpness * _matrix(random, num_tokens, WIDTH)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor + (added or {}).get(name, np.float32(0)))
    _write(writer)
    return path


def write_lora(path: Path, changes: Mapping[str, tuple[Tensor, Tensor]], alpha: float, arch: str = "llama") -> Path:
    """Write an adapter that adds `alpha / rank * b @ a` to each named tensor, of its pair (a, b)."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in changes.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    _write(writer)
    return path


def write_projector(path: Path) -> Path:
    """Write what says it is a projector; it has nothing of one."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_tensor("v.x", _ones(4))
    _write(writer)
    return path


def write_importance(path: Path, columns: Mapping[str, Tensor], count: float) -> Path:
    """Write an importance matrix: the sums over `count` texts of each tensor's columns."""
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    for name, sums in columns.items():
        writer.add_tensor(f"{name}.in_sum2", sums.reshape(1, -1))
        writer.add_tensor(f"{name}.counts", np.full((1, 1), count, np.float32))
    _write(writer)
    return path


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, words: Sequence[str], marks: Sequence[str]) -> int:
    specials = ["<unk>", "<s>", "</s>"]
    tokens = specials + [f"<0x{byte:02X}>" for byte in range(256)] + list(words) + list(marks)
    types = [2, 3, 3] + [6] * 256 + [1] * len(words) + [3] * len(marks)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (3 + 256) + [-float(i + 1) for i in range(len(words) + len(marks))])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    return len(tokens)


def _add_attention(writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator, kind: str) -> None:
    experts = EXPERTS if kind == "experts" else 0
    heads = 1 if experts else HEADS
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    size = WIDTH // heads
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    writer.add_key_length(size)
    writer.add_value_length(size)
    if kind == "sliding":
        writer.add_sliding_window(WINDOW)
    if kind == "grid":
        writer.add_rope_dimension_sections([2, 3, 3, 0])
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        tensors[f"{block}.attn_norm.weight"] = _ones(WIDTH)
        tensors[f"{block}.ffn_norm.weight"] = _ones(WIDTH)
        for name in ("q", "k", "v", "output"):
            tensors[f"{block}.attn_{name}.weight"] = _matrix(random, WIDTH, WIDTH)
        if kind == "grid":
            for name in ("q", "k", "v"):
                tensors[f"{block}.attn_{name}.bias"] = _matrix(random, 1, WIDTH)[0]
        if kind in {"sliding", "ranker"}:
            for name in ("attn_q_norm", "attn_k_norm"):
                tensors[f"{block}.{name}.weight"] = _ones(size)
        if kind == "sliding":
            for name in ("post_attention_norm", "post_ffw_norm"):
                tensors[f"{block}.{name}.weight"] = _ones(WIDTH)
        if experts:
            tensors[f"{block}.ffn_gate_inp.weight"] = _matrix(random, experts, WIDTH)
        for name, rows, columns in (("gate", FEED, WIDTH), ("up", FEED, WIDTH), ("down", WIDTH, FEED)):
            if experts:
                stacked = np.stack([_matrix(random, rows, columns) for _ in range(experts)])
                tensors[f"{block}.ffn_{name}_exps.weight"] = stacked
            else:
                tensors[f"{block}.ffn_{name}.weight"] = _matrix(random, rows, columns)


def _add_mamba(writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator) -> None:
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    _add_state_space(writer, tensors, random, range(LAYERS))


def _add_jamba(writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator) -> None:
    """Add a layer with a state and one with attention."""
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([0, HEADS])
    _add_state_space(writer, tensors, random, [0])
    for name, size in (("dt", RANK), ("b", STATE), ("c", STATE)):
        tensors[f"blk.0.ssm_{name}_norm.weight"] = _ones(size)
    tensors["blk.1.attn_norm.weight"] = _ones(WIDTH)
    for name in ("q", "k", "v", "output"):
        tensors[f"blk.1.attn_{name}.weight"] = _matrix(random, WIDTH, WIDTH)
    for layer in range(LAYERS):
        tensors[f"blk.{layer}.ffn_norm.weight"] = _ones(WIDTH)
        tensors[f"blk.{layer}.ffn_gate.weight"] = _matrix(random, FEED, WIDTH)
        tensors[f"blk.{layer}.ffn_up.weight"] = _matrix(random, FEED, WIDTH)
        tensors[f"blk.{layer}.ffn_down.weight"] = _matrix(random, WIDTH, FEED)


def _add_state_space(
    writer: gguf.GGUFWriter, tensors: dict[str, Tensor], random: np.random.Generator, layers: Iterable[int]
) -> None:
    inner, state, conv, rank = 2 * WIDTH, STATE, 4, RANK
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    for layer in layers:
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
