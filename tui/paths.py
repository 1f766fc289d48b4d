"""Paths of files on this machine, completed while they are typed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from textual.suggester import Suggester

_MOST_ENTRIES = 2000


def is_path(text: str) -> bool:
    """Whether a text means a file here and no model's name."""
    return text.startswith(("/", "./", "../", "~")) or (text.lower().endswith(".gguf") and "://" not in text)


def complete(text: str, *, suffix: str = "") -> str | None:
    """The shortest path that goes on from `text`: folders with a slash, of files those that end with `suffix`."""
    if not is_path(text) or text in {"~", ".."}:
        return None
    folder_text, _, start = text.rpartition("/")
    folder = Path(f"{folder_text}/" if folder_text or text.startswith("/") else ".").expanduser()
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False):
                if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                    continue
                if entry.is_dir():
                    found.append(f"{entry.name}/")
                elif entry.name.lower().endswith(suffix):
                    found.append(entry.name)
    except OSError:
        return None
    best = min(found, key=lambda name: (not name.lower().endswith(suffix or name), name.casefold()), default=None)
    if best is None or not best.isprintable():
        return None
    return f"{text[: len(text) - len(start)]}{best}"


class PathSuggester(Suggester):
    """Offers the rest of a path behind the cursor; what is no path gets no offer."""

    def __init__(self, suffix: str = "") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._suffix = suffix

    async def get_suggestion(self, value: str) -> str | None:
        """See `Suggester`."""
        return await asyncio.to_thread(complete, value, suffix=self._suffix)
