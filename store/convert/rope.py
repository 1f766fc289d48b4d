"""How positions are turned into angles: what a config says of rotary embeddings, as GGUF has it."""

from __future__ import annotations

import math

import gguf
import numpy as np

from corral.store.convert.checkpoint import Config
from corral.store.convert.stream import Weight
from corral.store.errors import ConversionError

_LARGEST_DIMENSION = 1 << 16


def add_rope(writer: gguf.GGUFWriter, config: Config, dimensions: int, *, base: float = 10_000.0) -> list[Weight]:
    """Write the base and the scaling; returns the tensors that some scalings need. `base` is the family's default.

    Raises:
        ConversionError: a kind of scaling that is not known.
    """
    newer = config.section("rope_parameters")
    theta = newer.real("rope_theta", default=config.real("rope_theta", "rotary_emb_base", default=base))
    writer.add_rope_freq_base(theta)
    writer.add_rope_dimension_count(dimensions)
    scaling = config.section("rope_scaling") if config.has("rope_scaling") else newer
    match scaling.text("rope_type", "type"):
        case "" | "default" | "mrope":
            return []
        case "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(scaling.real("factor"))
            return []
        case "yarn":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(scaling.real("factor"))
            writer.add_rope_scaling_orig_ctx_len(
                scaling.number("original_max_position_embeddings", default=config.number("max_position_embeddings"))
            )
            return []
        case "llama3":
            return [_llama3(scaling, theta, dimensions)]
        case "longrope" | "su":
            return _long(writer, config, scaling, dimensions)
        case other:
            raise ConversionError(f"the rope scaling {other!r} is not supported")


def _llama3(scaling: Config, theta: float, dimensions: int) -> Weight:
    """Llama 3.1's scaling: slow angles are slowed by `factor`, quick ones kept, those between blended."""
    if not 2 <= dimensions <= _LARGEST_DIMENSION or theta <= 0:
        raise ConversionError("the config says what cannot be of its rotary embeddings")
    factor = scaling.real("factor")
    low, high = scaling.real("low_freq_factor", default=1.0), scaling.real("high_freq_factor", default=4.0)
    trained = scaling.number("original_max_position_embeddings", default=8192)
    if low <= 0 or high <= low or factor <= 0:
        raise ConversionError("the config says what cannot be of its rope scaling")
    frequencies = theta ** -(np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)
    waves = 2 * math.pi / frequencies
    smooth = np.clip((trained / waves - low) / (high - low), 0.0, 1.0)
    factors = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return Weight("rope_freqs.weight", factors.shape, values=factors)


def _long(writer: gguf.GGUFWriter, config: Config, scaling: Config, dimensions: int) -> list[Weight]:
    """Phi-3's: two lists of factors, for texts within the first context and for longer ones."""
    longest = config.number("max_position_embeddings", least=2)
    trained = scaling.number(
        "original_max_position_embeddings",
        default=config.number("original_max_position_embeddings", default=longest),
        least=2,
    )
    writer.add_rope_scaling_orig_ctx_len(trained)
    stretch = longest / trained
    attention = math.sqrt(1 + math.log(stretch) / math.log(trained)) if stretch > 1 else 1.0
    writer.add_rope_scaling_attn_factors(scaling.real("attention_factor", default=attention))
    weights = []
    for key, name in (("long_factor", "rope_factors_long"), ("short_factor", "rope_factors_short")):
        factors = np.array(scaling.reals(key), np.float32)
        if factors.shape != (dimensions // 2,):
            raise ConversionError(f"{scaling.shown}: {key} has {factors.size} numbers, not {dimensions // 2}")
        weights.append(Weight(f"{name}.weight", factors.shape, values=factors))
    return weights
