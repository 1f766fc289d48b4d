"""Random projectors of a few kilobytes that make images into what a tiny model reads, written as GGUF files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import gguf
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.unit.runtime.tiny_models import WIDTH

SIDE: Final = {"mlp": 32, "gemma3": 64}
PATCH: Final = 8
INNER: Final = 16
POOLED: Final = 2
IMAGE_TOKENS: Final = {kind: (side // PATCH) ** 2 for kind, side in SIDE.items()} | {
    "gemma3": (SIDE["gemma3"] // PATCH // POOLED) ** 2
}

Tensor = NDArray[np.float32]


def write_projector(path: Path, kind: str, *, seed: int = 3, width: int = WIDTH) -> dict[str, Tensor]:
    """Write a projector of `kind` and return its tensors.

    "mlp" is LLaVA's: a patch's pixels and its place through two layers. "gemma3" pools patches, and all of an image's
    tokens look at each other.
    """
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    for name, number in (
        ("image_size", SIDE[kind]),
        ("patch_size", PATCH),
        ("embedding_length", INNER),
        ("feed_forward_length", INNER),
        ("block_count", 1),
        ("attention.head_count", 1),
        ("projection_dim", width),
        ("projector.scale_factor", POOLED),
    ):
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    places = (SIDE[kind] // PATCH) ** 2
    tensors = {
        "v.patch_embd.weight": _random(random, INNER, 3, PATCH, PATCH) * np.float32(0.1),
        "v.position_embd.weight": _random(random, places, INNER),
    }
    for name in ("ln1", "ln2"):
        tensors[f"v.blk.0.{name}.weight"] = np.ones(INNER, np.float32)
        tensors[f"v.blk.0.{name}.bias"] = np.zeros(INNER, np.float32)
    for name in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"):
        tensors[f"v.blk.0.{name}.weight"] = _random(random, INNER, INNER)
        tensors[f"v.blk.0.{name}.bias"] = np.zeros(INNER, np.float32)
    if kind == "gemma3":
        tensors["v.post_ln.weight"] = np.ones(INNER, np.float32)
        tensors["v.post_ln.bias"] = np.zeros(INNER, np.float32)
        tensors["mm.input_projection.weight"] = _random(random, INNER, width)
        tensors["mm.soft_emb_norm.weight"] = np.ones(INNER, np.float32)
    else:
        tensors["mm.0.weight"] = _random(random, width, INNER)
        tensors["mm.0.bias"] = _random(random, width)
        tensors["mm.2.weight"] = _random(random, width, width)
        tensors["mm.2.bias"] = _random(random, width)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def picture(seed: int, side: int = 32, form: str = "PNG") -> bytes:
    """Return an image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return encoded(pixels, form)


def encoded(pixels: NDArray[np.uint8], form: str = "PNG") -> bytes:
    """Return pixels as an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def _random(random: np.random.Generator, *shape: int) -> Tensor:
    return random.normal(0, 0.5, shape).astype(np.float32)
