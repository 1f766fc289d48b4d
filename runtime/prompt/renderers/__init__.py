"""Built-in ways to write a prompt, by the names that models declare as their RENDERER (spec g.6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from corral.runtime.errors import TemplateFailed
from corral.runtime.prompt.renderers.cohere import cohere
from corral.runtime.prompt.renderers.deepseek import cogito, deepseek31
from corral.runtime.prompt.renderers.form import Renderer
from corral.runtime.prompt.renderers.gemma import functiongemma
from corral.runtime.prompt.renderers.gemma4 import gemma4
from corral.runtime.prompt.renderers.glimmer import glimmer
from corral.runtime.prompt.renderers.glm import glm47, glm_ocr
from corral.runtime.prompt.renderers.harmony import harmony
from corral.runtime.prompt.renderers.laguna import laguna, poolside
from corral.runtime.prompt.renderers.lfm import lfm2
from corral.runtime.prompt.renderers.nemotron import nemotron3, nemotron35
from corral.runtime.prompt.renderers.olmo import (
    OLMO3_32B_THINK,
    OLMO3_SYSTEM,
    OLMO31_SYSTEM,
    OLMO31_THINK,
    olmo3,
    olmo3_think,
)
from corral.runtime.prompt.renderers.plain import FAMILIES, plain
from corral.runtime.prompt.renderers.qwen import qwen3_coder, qwen3_vl, qwen35, qwen38

RENDERERS: Final[Mapping[str, Renderer]] = {
    "cogito": cogito,
    "cohere": cohere,
    "deepseek3.1": deepseek31,
    "functiongemma": functiongemma,
    "gemma4": partial(gemma4, closes=False),
    "gemma4-small": partial(gemma4, closes=False),
    "gemma4-large": partial(gemma4, closes=True),
    "glimmer": glimmer,
    "glm-4.7": glm47,
    "glm-ocr": glm_ocr,
    "gpt-oss": harmony,
    "harmony": harmony,
    "laguna": laguna,
    "lfm2": partial(lfm2, thinks=False),
    "lfm2-thinking": partial(lfm2, thinks=True),
    "nemotron-3-nano": nemotron3,
    "nemotron-3.5-nano": nemotron35,
    "olmo3": partial(olmo3, system=OLMO3_SYSTEM),
    "olmo3.1": partial(olmo3, system=OLMO31_SYSTEM),
    "olmo3-think": partial(olmo3_think, system=OLMO31_THINK),
    "olmo3-32b-think": partial(olmo3_think, system=OLMO3_32B_THINK),
    "ornith": partial(qwen35, shows_all=True),
    "poolside-v1": poolside,
    "qwen3-coder": qwen3_coder,
    "qwen3-vl-instruct": partial(qwen3_vl, thinks=False),
    "qwen3-vl-thinking": partial(qwen3_vl, thinks=True),
    "qwen3.5": qwen35,
    "qwen3.8": qwen38,
    **{family.name: partial(plain, family) for family in FAMILIES},
}


def renderer_named(name: str) -> Renderer:
    """Return a renderer. Raises TemplateFailed for a name that is none."""
    renderer = RENDERERS.get(name)
    if renderer is None:
        raise TemplateFailed(f'unknown renderer "{name}"')
    return renderer
