"""What a model can do here, and which built-in way writes its prompts, from what its files say (spec a.12, g.3)."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from corral.runtime.prompt.families import RENDERER_NAMES, RENDERER_TAGS, WITHOUT_TOOLS
from corral.runtime.prompt.parsers.families import PARSERS, family_of
from corral.store.gguf import GgufArray, GgufHeader, read_header
from corral.store.manifests import ModelConfig

POOLED_TO_RANK: Final = 4
"""`pooling_type` of models with a classification head (llama.cpp, LLAMA_POOLING_TYPE_RANK)."""
_LARGE_GEMMA: Final = 12_000_000_000
_HARMONY_FAMILIES: Final = frozenset({"gptoss", "gpt-oss"})
_INFILL_KEYS: Final = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")
_INFILL_TOKENS: Final = frozenset(
    {
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<｜fim▁begin｜>",
        "<PRE>",
        "▁<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    }
)
"""Tokens that stand before what comes first, by which llama.cpp knows a model that fills in (`llama_vocab`)."""


def unknown_name(word: str, name: str) -> str:
    """Return what is to be said of a name after RENDERER or PARSER, "" for one that is known, or none.

    Ollama makes a model with any name; with an unknown renderer it then answers no chat, an unknown parser it passes
    over. So do we.
    """
    known = RENDERER_NAMES if word == "renderer" else PARSERS
    if not name or name in known:
        return ""
    near = difflib.get_close_matches(name, known, n=1)
    follows = "no chat will be answered" if word == "renderer" else "answers are read as the template shows"
    return f'unknown {word} "{name}": {follows}' + (f"; did you mean {near[0]}?" if near else "")


def renderer_of(config: ModelConfig, header: GgufHeader, template: str | None) -> str:
    """Return the built-in way a model's prompts are written, "" for its template's.

    Gemma 4's two are told apart by size; gpt-oss has one where its template is written for it.
    """
    if config.renderer == "gemma4":
        return "gemma4-large" if header.parameter_count >= _LARGE_GEMMA else "gemma4-small"
    if not config.renderer and config.model_family in _HARMONY_FAMILIES and template is not None:
        return "harmony" if "<|start|>" in template and "<|end|>" in template else ""
    return config.renderer


def capabilities(
    header: GgufHeader, template: str | None, renderer: str = "", parser: str = "", *, sees: bool = False
) -> tuple[str, ...]:
    """What the model can do: one with a pooling type embeds or ranks, everything else completes text.

    It thinks, calls tools and inserts where what renders its chats knows of these, or the parser it names does; it
    `sees` with a projector.
    """
    pooling = header.metadata.get(f"{header.architecture}.pooling_type")
    if pooling is not None:
        return ("rerank",) if pooling == POOLED_TO_RANK else ("embedding",)
    known = ["completion", "vision"] if sees else ["completion"]
    source = template if template is not None else header.chat_template or ""
    family = family_of(parser, source)
    if renderer not in WITHOUT_TOOLS if renderer else family.form is not None:
        known.append("tools")
    if (template is not None and ".Suffix" in template) or any(key in header.metadata for key in _INFILL_KEYS):
        known.append("insert")
    if (renderer in RENDERER_TAGS) if renderer and parser not in PARSERS else family.tags is not None:
        known.append("thinking")
    return tuple(known)


def vocabulary_infills(path: Path) -> bool:
    """Say whether a model's vocabulary has marks for filling in; reads all of it, so it takes tenths of a second."""
    tokens = read_header(path, arrays=True).metadata.get("tokenizer.ggml.tokens")
    return isinstance(tokens, GgufArray) and any(token in _INFILL_TOKENS for token in tokens.values or ())
