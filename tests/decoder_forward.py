"""What a decoder of the families that are converted says next, computed with numpy as Hugging Face's code has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def next_logprobs(family: str, config: dict[str, Any], weights: dict[str, Any], tokens: list[int]) -> Array:
    """The logarithms of the probabilities of what comes after `tokens`."""
    gemma = family.startswith("gemma")
    w = {name: np.asarray(tensor, np.float64) for name, tensor in weights.items()}
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", config["hidden_size"] // heads)

    def norm(x: Array, name: str) -> Array:
        scaled: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"])
        return scaled * (w[f"{name}.weight"] + (1 if gemma else 0))

    x = w["model.embed_tokens.weight"][tokens] * (math.sqrt(config["hidden_size"]) if gemma else 1)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        h = norm(x, f"{block}.input_layernorm")
        q, k, v = _queries(w, f"{block}.self_attn", h, heads * size, kv_heads * size)
        q, k, v = (one.reshape(len(tokens), -1, size) for one in (q, k, v))
        if f"{block}.self_attn.q_norm.weight" in w:
            q, k = norm(q, f"{block}.self_attn.q_norm"), norm(k, f"{block}.self_attn.k_norm")
        angles = _angles(family, config, size, layer, len(tokens))
        q, k = _turned(q, angles), _turned(k, angles)
        k, v = (np.repeat(one, heads // kv_heads, axis=1) for one in (k, v))
        stretch = config.get("max_position_embeddings", 0) / config.get("original_max_position_embeddings", math.inf)
        trained = config.get("original_max_position_embeddings", 0)
        # Longrope scales both turned sides, so scores twice.
        extra = 1 + math.log(stretch) / math.log(trained) if stretch > 1 else 1.0
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(size) * extra
        if cap := config.get("attn_logit_softcapping"):
            scores = np.tanh(scores / cap) * cap
        scores = np.where(np.tri(len(tokens), dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v).reshape(len(tokens), -1)
        out = seen @ w[f"{block}.self_attn.o_proj.weight"].T
        if gemma:
            x = x + norm(out, f"{block}.post_attention_layernorm")
            h = norm(x, f"{block}.pre_feedforward_layernorm")
            x = x + norm(_feed(w, block, h, gemma), f"{block}.post_feedforward_layernorm")
        else:
            x = x + out
            x = x + _feed(w, block, norm(x, f"{block}.post_attention_layernorm"), gemma)
    last = norm(x, "model.norm")[-1]
    logits: Array = w.get("lm_head.weight", w["model.embed_tokens.weight"]) @ last
    if cap := config.get("final_logit_softcapping"):
        logits = np.tanh(logits / cap) * cap
    shifted: Array = logits - logits.max()
    return np.asarray(shifted - math.log(np.exp(shifted).sum()), np.float64)


def _queries(w: dict[str, Array], name: str, h: Array, wide: int, narrow: int) -> list[Array]:
    if f"{name}.qkv_proj.weight" in w:
        return np.split(h @ w[f"{name}.qkv_proj.weight"].T, [wide, wide + narrow], axis=-1)
    return [h @ w[f"{name}.{p}_proj.weight"].T + w.get(f"{name}.{p}_proj.bias", np.zeros(())) for p in "qkv"]


def _feed(w: dict[str, Array], block: str, h: Array, gemma: bool) -> Array:
    def act(x: Array) -> Array:
        if gemma:
            bent: Array = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        else:
            bent = x / (1 + np.exp(-x))
        return bent

    def gated(gate: Array, up: Array, down: Array, rows: Array) -> Array:
        bent: Array = act(rows @ gate.T) * (rows @ up.T)
        return bent @ down.T

    moe = f"{block}.block_sparse_moe"
    if f"{moe}.gate.weight" in w:
        out = np.zeros_like(h)
        for row, values in enumerate(h):
            scores = w[f"{moe}.gate.weight"] @ values
            chosen = np.argsort(scores)[-2:]
            shares = np.exp(scores[chosen] - scores.max())
            for expert, share in zip(chosen, shares / shares.sum(), strict=True):
                gate, up, down = (w[f"{moe}.experts.{expert}.{part}.weight"] for part in ("w1", "w3", "w2"))
                out[row] += share * gated(gate, up, down, values)
        return out
    down = w[f"{block}.mlp.down_proj.weight"]
    if f"{block}.mlp.gate_up_proj.weight" in w:
        gate, up = np.split(w[f"{block}.mlp.gate_up_proj.weight"], 2)
        return gated(gate, up, down, h)
    return gated(w[f"{block}.mlp.gate_proj.weight"], w[f"{block}.mlp.up_proj.weight"], down, h)


def _angles(family: str, config: dict[str, Any], size: int, layer: int, count: int) -> Array:
    base = config["rope_theta"]
    if family == "gemma3" and (layer + 1) % 6:
        base = 10_000.0  # layers that see a window
    frequencies: Array = base ** -(np.arange(0, size, 2) / size)
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") == "llama3":
        frequencies = np.array([_llama3(one, scaling) for one in frequencies])
    elif scaling:
        frequencies = frequencies / np.array(scaling["short_factor" if count <= 256 else "long_factor"])
    return np.outer(np.arange(count), frequencies)


def _llama3(frequency: float, scaling: dict[str, Any]) -> float:
    wave = 2 * math.pi / frequency
    trained, low, high = 64, scaling["low_freq_factor"], scaling["high_freq_factor"]
    if wave < trained / high:
        return frequency
    if wave > trained / low:
        return float(frequency / scaling["factor"])
    smooth = (trained / wave - low) / (high - low)
    return float((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)


def _turned(x: Array, angles: Array) -> Array:
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    left, right = np.split(x, 2, axis=-1)
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
