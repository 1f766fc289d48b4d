"""What is known of built-in renderers without loading them: how their families mark thoughts, and who calls tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from corral.runtime.prompt.thinking import GLIMMER, HARMONY, Tags

_THINK: Final = Tags("<think>", "</think>")

RENDERER_TAGS: Final[Mapping[str, Tags]] = {
    **dict.fromkeys(("cogito", "deepseek3.1", "glm-4.7", "glm-ocr", "lfm2-thinking"), _THINK),
    **dict.fromkeys(("laguna", "nemotron-3-nano", "nemotron-3.5-nano", "poolside-v1", "qwen3.8"), _THINK),
    **dict.fromkeys(("olmo3-think", "olmo3-32b-think", "ornith", "qwen3-vl-thinking", "qwen3.5"), _THINK),
    **dict.fromkeys(("gemma4", "gemma4-small", "gemma4-large"), Tags("<|channel>thought", "<channel|>")),
    **dict.fromkeys(("gpt-oss", "harmony"), HARMONY),
    "glimmer": GLIMMER,
    "cohere": Tags("<|START_THINKING|>", "<|END_THINKING|>", "<|START_TEXT|>"),
}
"""The marks around thoughts, of those that think."""

WITHOUT_TOOLS: Final = frozenset({"olmo3-think", "olmo3-32b-think"}) | {
    *("chatml", "command-r", "deepseek", "gemma", "granite"),
    *("llama3", "llama4", "mistral", "phi-3", "phi-4"),
}
"""Those that have no way to write tools."""

RENDERER_NAMES: Final = (
    frozenset(RENDERER_TAGS)
    | WITHOUT_TOOLS
    | {"functiongemma", "lfm2", "olmo3", "olmo3.1", "qwen3-coder", "qwen3-vl-instruct"}
)
"""What may stand after RENDERER."""
