"""What settings say of models: folders of other tools (Hugging Face's libraries, LM Studio, llama.cpp), and aliases."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from corral.store.errors import InvalidName
from corral.store.folders import ANY_FOLDER, HUGGING_FACE, LLAMA_CPP, LM_STUDIO, GgufFolder
from corral.store.names import ModelName
from corral.store.registries import DEFAULT_HUB, Hub


def gguf_folders(environ: Mapping[str, str], home: Path, text: str, *, discover: bool) -> tuple[GgufFolder, ...]:
    """Return the folders of GGUF files, there or not: those in `text`, and other tools' where they are to be found."""
    named = [GgufFolder(ANY_FOLDER, path) for path in paths_of(text, home)]
    if not discover:
        return tuple(named)
    cache = _cache(environ, home)
    llama = home / "Library" / "Caches" if sys.platform == "darwin" else cache
    found = (
        GgufFolder(HUGGING_FACE, Path(environ.get("HF_HUB_CACHE") or _hugging_face(environ, home) / "hub")),
        GgufFolder(LM_STUDIO, home / ".lmstudio" / "models"),
        GgufFolder(LM_STUDIO, home / ".cache" / "lm-studio" / "models"),
        GgufFolder(LLAMA_CPP, Path(environ.get("LLAMA_CACHE") or llama / "llama.cpp")),
    )
    return (*named, *found)


def hub_of(environ: Mapping[str, str], home: Path) -> Hub:
    """Return where Hugging Face is and the user's token, as its own tools read them."""
    token = environ.get("HF_TOKEN", "").strip() or environ.get("HUGGING_FACE_HUB_TOKEN", "").strip()
    url = environ.get("HF_ENDPOINT", "").strip().rstrip("/") or DEFAULT_HUB
    return Hub(url, token, Path(environ.get("HF_TOKEN_PATH") or _hugging_face(environ, home) / "token"))


def paths_of(text: str, home: Path) -> tuple[Path, ...]:
    """Return the folders a setting lists as `PATH` does."""
    parts = filter(None, map(str.strip, text.split(os.pathsep)))
    return tuple(home / part[2:] if part.startswith("~/") else Path(part).absolute() for part in parts)


def parse_aliases(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what `alias=model, ...` says: the aliases, and the parts that are none."""
    found: dict[str, str] = {}
    refused: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        alias, _, model = (piece.strip() for piece in part.partition("="))
        try:
            if ModelName.parse(alias).key == ModelName.parse(model).key:
                raise InvalidName(part)
            found[alias] = model
        except InvalidName:
            refused.append(part)
    return found, tuple(refused)


def _hugging_face(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("HF_HOME") or _cache(environ, home) / "huggingface")


def _cache(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
