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

SIDE: Final = {"mlp": 32, "gemma3": 64, "qwen2vl_merger": 64}
PATCH: Final = 8
INNER: Final = 16
POOLED: Final = 2
IMAGE_TOKENS: Final = {kind: (side // PATCH) ** 2 for kind, side in SIDE.items()} | {
    kind: (SIDE[kind] // PATCH // POOLED) ** 2 for kind in ("gemma3", "qwen2vl_merger")
}

Tensor = NDArray[np.float32]


def write_projector(path: Path, kind: str, *, seed: int = 3, width: int = WIDTH) -> dict[str, Tensor]:
    """Write a projector of `kind` and return its tensors.

    "mlp" is LLaVA's: a patch's pixels and its place through two layers. "gemma3" pools patches, and all of an image's
    tokens look at each other. "qwen2vl_merger" joins patches, and tokens have a row and a column.
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
    if kind == "qwen2vl_merger":
        writer.add_uint32("clip.vision.image_min_pixels", SIDE[kind] ** 2)
        writer.add_uint32("clip.vision.image_max_pixels", SIDE[kind] ** 2)
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
    if kind == "qwen2vl_merger":
        del tensors["v.position_embd.weight"]
        tensors["v.patch_embd.weight.1"] = _random(random, INNER, 3, PATCH, PATCH) * np.float32(0.1)
        tensors["v.post_ln.weight"] = np.ones(INNER, np.float32)
        tensors["v.post_ln.bias"] = np.zeros(INNER, np.float32)
        joined = INNER * POOLED**2
        for name, rows in (("mm.0", joined), ("mm.2", width)):
            tensors[f"{name}.weight"] = _random(random, rows, joined)
            tensors[f"{name}.bias"] = _random(random, rows)
    elif kind == "gemma3":
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


def projected(tensors: dict[str, Tensor], pixels: NDArray[np.uint8]) -> Tensor:
    """Return what the "mlp" projector makes of pixels of its own size: a row for each patch."""
    side = SIDE["mlp"]
    assert pixels.shape == (side, side, 3)
    values = (pixels.astype(np.float32) / 255 - 0.5) / 0.5
    rows = side // PATCH
    patches = values.reshape(rows, PATCH, rows, PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(rows * rows, -1)
    seen = patches @ tensors["v.patch_embd.weight"].reshape(INNER, -1).T + tensors["v.position_embd.weight"]
    inner = seen @ tensors["mm.0.weight"].T + tensors["mm.0.bias"]
    bent = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    made: Tensor = (bent @ tensors["mm.2.weight"].T + tensors["mm.2.bias"]).astype(np.float32)
    return made


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
