"""Counts of weights in Ollama's words (spec d.2). Apart from the GGUF reader, for commands that only show one."""

from __future__ import annotations


def human_count(count: int) -> str:
    """A count of weights: `7B`, `8.0B`, `137M`, `494.03M`, `512K`."""
    for unit, factor, digits in (("B", 10**9, 1), ("M", 10**6, 2), ("K", 10**3, 0)):
        if count >= factor:
            return f"{count // factor}{unit}" if count % factor == 0 else f"{count / factor:.{digits}f}{unit}"
    return str(count)
