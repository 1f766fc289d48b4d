"""The vector of a text, computed with numpy as Hugging Face's code for BERT and nomic-bert has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def embedding(config: dict[str, Any], weights: dict[str, Any], tokens: list[int]) -> Array:
    """The mean of the last layer, of length 1."""
    w = {name: np.asarray(tensor, np.float64) for name, tensor in weights.items()}
    rotary = "emb_ln.weight" in w
    heads = config["n_head" if rotary else "num_attention_heads"]
    layers = config["n_layer" if rotary else "num_hidden_layers"]
    eps = config["layer_norm_epsilon" if rotary else "layer_norm_eps"]

    def norm(x: Array, name: str) -> Array:
        scaled: Array = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", np.zeros(()))

    x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.token_type_embeddings.weight"][0]
    if not rotary:
        x = x + w["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm(x, "emb_ln" if rotary else "embeddings.LayerNorm")
    for layer in range(layers):
        if rotary:
            block = f"encoder.layers.{layer}"
            q, k, v = np.split(linear(x, f"{block}.attn.Wqkv"), 3, axis=-1)
            q, k = (_turned(one, heads, config["rotary_emb_base"]) for one in (q, k))
            x = norm(x + linear(_attended(q, k, v, heads), f"{block}.attn.out_proj"), f"{block}.norm1")
            gate = linear(x, f"{block}.mlp.fc12")
            bent = linear(x, f"{block}.mlp.fc11") * gate / (1 + np.exp(-gate))
            x = norm(x + linear(bent, f"{block}.mlp.fc2"), f"{block}.norm2")
        else:
            block = f"encoder.layer.{layer}"
            q, k, v = (linear(x, f"{block}.attention.self.{part}") for part in ("query", "key", "value"))
            out = linear(_attended(q, k, v, heads), f"{block}.attention.output.dense")
            x = norm(x + out, f"{block}.attention.output.LayerNorm")
            up = linear(x, f"{block}.intermediate.dense")
            bent = up / 2 * (1 + np.vectorize(math.erf)(up / math.sqrt(2)))
            x = norm(x + linear(bent, f"{block}.output.dense"), f"{block}.output.LayerNorm")
    mean = x.mean(0)
    return np.asarray(mean / np.linalg.norm(mean), np.float64)


def _attended(q: Array, k: Array, v: Array, heads: int) -> Array:
    q, k, v = (one.reshape(len(one), heads, -1) for one in (q, k, v))
    scores = np.exp(np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1]))
    seen: Array = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v)
    return seen.reshape(len(q), -1)


def _turned(x: Array, heads: int, base: float) -> Array:
    parts = x.reshape(len(x), heads, -1)
    size = parts.shape[-1]
    angles = np.outer(np.arange(len(x)), base ** -(np.arange(0, size, 2) / size))
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    left, right = np.split(parts, 2, axis=-1)
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).reshape(x.shape)
