"""Random models of a few kilobytes, one of each family that is converted, as folders their makers would publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoints import (
    LLAMA3_SPLIT,
    QWEN2_SPLIT,
    Tensors,
    byte_level_tokenizer,
    sentencepiece_model,
    write_json,
    write_safetensors,
    write_sharded,
)

WIDTH, HEADS, KV_HEADS, HEAD, LAYERS, FEED, CTX, EXPERTS = 64, 4, 2, 16, 2, 96, 512, 4
MERGES = [("t", "h"), ("th", "e"), ("f", "o"), ("fo", "x"), ("Ġ", "fox"), ("Ġ", "the"), ("a", "n")]
SPECIALS = ["<|begin|>", "<|end|>"]
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
WORDS = ["▁", "t", "h", "e", "f", "o", "x", "th", "the", "fo", "fox", "▁the", "▁fox"]
PIECES = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
    *((word, -float(number), 1) for number, word in enumerate(WORDS)),
]

GENERATING = ["llama", "llama3-rope", "mistral", "mixtral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "phi3-long"]


def write_family(folder: Path, family: str, kind: str = "F32") -> tuple[dict[str, Any], Tensors]:
    """Write a decoder; returns its config and its weights, for a reference to compute with."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = _tokenizer(folder, family)
    config = _config(family, rows)
    tensors = _weights(family, rows)
    text = {**config}
    if family == "gemma3":
        write_json(folder / "config.json", {"architectures": config["architectures"], "text_config": text})
        tensors = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
        write_safetensors(
            folder / "model.safetensors", {**tensors, "vision_tower.patch.weight": np.ones((2, 2), np.float32)}, kind
        )
        return config, {name.removeprefix("language_model."): tensor for name, tensor in tensors.items()}
    write_json(folder / "config.json", config)
    if family == "mixtral":
        write_sharded(folder, tensors, kind, 3)
    else:
        write_safetensors(folder / "model.safetensors", tensors, kind)
    return config, tensors


def _tokenizer(folder: Path, family: str) -> int:
    if family in ("llama3-rope", "qwen2", "qwen3"):
        split = LLAMA3_SPLIT if family == "llama3-rope" else QWEN2_SPLIT
        write_json(folder / "tokenizer.json", byte_level_tokenizer(split, MERGES, SPECIALS))
        settings = {"bos_token": {"content": SPECIALS[0]}, "eos_token": SPECIALS[1], "add_bos_token": False}
        write_json(folder / "tokenizer_config.json", {**settings, "chat_template": TEMPLATE})
        return 256 + len(MERGES) + len(SPECIALS) + 3  # embeddings are padded
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(PIECES, prefixes=not family.startswith("gemma")))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", {**settings, "add_bos_token": True, "add_eos_token": False})
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_json(folder / "added_tokens.json", {"<|extra|>": len(PIECES)})
    return len(PIECES) + 1


_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "llama3-rope": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForConditionalGeneration",
    "phi3": "Phi3ForCausalLM",
    "phi3-long": "Phi3ForCausalLM",
}


def _config(family: str, rows: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[family]],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": FEED,
        "max_position_embeddings": CTX,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0,
        "vocab_size": rows,
    }
    match family:
        case "llama3-rope":
            scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
            config["rope_scaling"] = {**scaling, "original_max_position_embeddings": 64}
        case "mixtral":
            config |= {"num_local_experts": EXPERTS, "num_experts_per_tok": 2}
        case "qwen3":
            config |= {"head_dim": HEAD}
        case "gemma2":
            config |= {"head_dim": HEAD, "sliding_window": 256, "query_pre_attn_scalar": HEAD}
            config |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        case "gemma3":
            config |= {"head_dim": HEAD, "sliding_window": 256, "query_pre_attn_scalar": HEAD}
        case "phi3-long":
            factors = {"long_factor": [2.0 + n for n in range(HEAD // 2)], "short_factor": [1.5] * (HEAD // 2)}
            config["rope_scaling"] = {"type": "longrope", **factors}
            config["original_max_position_embeddings"] = CTX // 2
    return config


def _weights(family: str, rows: int) -> Tensors:
    random = np.random.default_rng(17)

    def matrix(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.normal(0, 0.2, shape).astype(np.float32)

    gemma = family.startswith("gemma")
    tensors: Tensors = {"model.embed_tokens.weight": matrix(rows, WIDTH), "model.norm.weight": matrix(WIDTH) + 1}
    if not gemma:
        tensors["lm_head.weight"] = matrix(rows, WIDTH)
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        norms = ["input_layernorm", "post_attention_layernorm"]
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if gemma else []
        for norm in norms:
            tensors[f"{block}.{norm}.weight"] = matrix(WIDTH) + (0 if gemma else 1)
        if family.startswith("phi3"):
            tensors[f"{block}.self_attn.qkv_proj.weight"] = matrix((HEADS + 2 * KV_HEADS) * HEAD, WIDTH)
            tensors[f"{block}.mlp.gate_up_proj.weight"] = matrix(2 * FEED, WIDTH)
        else:
            for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
                tensors[f"{block}.self_attn.{part}_proj.weight"] = matrix(heads * HEAD, WIDTH)
                if family == "qwen2":
                    tensors[f"{block}.self_attn.{part}_proj.bias"] = matrix(heads * HEAD)
        tensors[f"{block}.self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * HEAD)
        if family in ("qwen3", "gemma3"):
            for norm in ("q_norm", "k_norm"):
                tensors[f"{block}.self_attn.{norm}.weight"] = matrix(HEAD) + (0 if gemma else 1)
        if family == "mixtral":
            experts = f"{block}.block_sparse_moe"
            tensors[f"{experts}.gate.weight"] = matrix(EXPERTS, WIDTH)
            for expert in range(EXPERTS):
                for part, shape in (("w1", (FEED, WIDTH)), ("w2", (WIDTH, FEED)), ("w3", (FEED, WIDTH))):
                    tensors[f"{experts}.experts.{expert}.{part}.weight"] = matrix(*shape)
        else:
            if not family.startswith("phi3"):
                tensors[f"{block}.mlp.gate_proj.weight"] = matrix(FEED, WIDTH)
                tensors[f"{block}.mlp.up_proj.weight"] = matrix(FEED, WIDTH)
            tensors[f"{block}.mlp.down_proj.weight"] = matrix(WIDTH, FEED)
    # Numbers that BF16 has too, so that every kind of file says the same.
    return {name: (tensor.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, tensor in tensors.items()}


VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "ran", "a", "##n", "##s", "b"]


def write_encoder(folder: Path, family: str) -> tuple[dict[str, Any], Tensors]:
    """Write an encoder, "bert" or "nomic-bert"; returns its config and its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    write_json(folder / "tokenizer_config.json", {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"})
    random = np.random.default_rng(19)
    tensors: Tensors = {}

    def add(name: str, *shape: int, bias: bool = False) -> None:
        middle = 1.0 if len(shape) == 1 else 0.0
        tensors[f"{name}.weight"] = random.normal(middle, 0.2, shape).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = random.normal(0, 0.2, shape[0]).astype(np.float32)

    rows = len(VOCAB) + 4
    add("embeddings.word_embeddings", rows, WIDTH)
    add("embeddings.token_type_embeddings", 2, WIDTH)
    if family == "nomic-bert":
        config: dict[str, Any] = {"architectures": ["NomicBertModel"], "n_embd": WIDTH, "n_head": HEADS}
        config |= {"n_layer": LAYERS, "n_inner": FEED, "n_positions": CTX, "layer_norm_epsilon": 1e-12}
        config |= {"rotary_emb_base": 1000, "type_vocab_size": 2, "vocab_size": rows}
        add("emb_ln", WIDTH, bias=True)
        for layer in range(LAYERS):
            block = f"encoder.layers.{layer}"
            add(f"{block}.attn.Wqkv", 3 * WIDTH, WIDTH)
            add(f"{block}.attn.out_proj", WIDTH, WIDTH)
            for part, shape in (("fc11", (FEED, WIDTH)), ("fc12", (FEED, WIDTH)), ("fc2", (WIDTH, FEED))):
                add(f"{block}.mlp.{part}", *shape)
            add(f"{block}.norm1", WIDTH, bias=True)
            add(f"{block}.norm2", WIDTH, bias=True)
    else:
        config = {"architectures": ["BertModel"], "hidden_size": WIDTH, "num_attention_heads": HEADS}
        config |= {"num_hidden_layers": LAYERS, "intermediate_size": FEED, "max_position_embeddings": CTX}
        config |= {"layer_norm_eps": 1e-12, "type_vocab_size": 2, "vocab_size": rows}
        add("embeddings.position_embeddings", CTX, WIDTH)
        add("embeddings.LayerNorm", WIDTH, bias=True)
        add("pooler.dense", WIDTH, WIDTH, bias=True)
        for layer in range(LAYERS):
            block = f"encoder.layer.{layer}"
            for part in ("query", "key", "value"):
                add(f"{block}.attention.self.{part}", WIDTH, WIDTH, bias=True)
            add(f"{block}.attention.output.dense", WIDTH, WIDTH, bias=True)
            add(f"{block}.attention.output.LayerNorm", WIDTH, bias=True)
            add(f"{block}.intermediate.dense", FEED, WIDTH, bias=True)
            add(f"{block}.output.dense", WIDTH, FEED, bias=True)
            add(f"{block}.output.LayerNorm", WIDTH, bias=True)
    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", tensors)
    return config, tensors
