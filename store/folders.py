"""Folders of GGUF files and how they are laid out. Part of the settings, so light to import."""

from __future__ import annotations

from pathlib import Path

import msgspec

HUGGING_FACE, LM_STUDIO, LLAMA_CPP, ANY_FOLDER = "hf-cache", "lmstudio", "llama.cpp", "gguf"


class GgufFolder(msgspec.Struct, frozen=True):
    """A folder of GGUF files; `tool` says how it is laid out and is the first part of its models' names."""

    tool: str
    path: Path
