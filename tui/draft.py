"""What was typed into the Modelfile editor and neither saved nor created, kept for the next time, after a crash too."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from corral.store.disk import make_folder, replace_file

_LONGEST = 1 << 20


def draft_path(environ: Mapping[str, str]) -> Path | None:
    """Where the draft lies, in XDG's folder for state; None where nobody's home is known."""
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    folder = Path(state) if state else Path(home) / ".local" / "state" if home else None
    return folder / "corral" / "Modelfile.draft" if folder is not None else None


def read_draft(path: Path | None) -> str:
    """The draft, "" where there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path is not None and path.stat().st_size <= _LONGEST:
            return path.read_text("utf-8")
    return ""


def keep_draft(path: Path | None, text: str) -> None:
    """Write the draft; "" removes it. A disk that does not take it must not keep anybody from typing."""
    if path is None:
        return
    with contextlib.suppress(OSError):
        if text:
            make_folder(path.parent)
            replace_file(path, text.encode("utf-8", "replace"))
        else:
            path.unlink(missing_ok=True)
