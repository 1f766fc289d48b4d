"""The user's own editor, in the terminal that the workbench leaves to it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from corral.tui.terminal import lent_terminal

__all__ = ["edit_in_editor", "editor_command"]


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The editor to use: `CORRAL_EDITOR`, `OLLAMA_EDITOR`, `VISUAL`, `EDITOR`, else vi."""
    for name in ("CORRAL_EDITOR", "OLLAMA_EDITOR", "VISUAL", "EDITOR"):
        with contextlib.suppress(ValueError):
            words = shlex.split(environ.get(name, ""))
            if words:
                return words
    return ["vi"]


async def edit_in_editor(app: App[Any], text: str, *, suffix: str = ".md") -> str | None:
    """Return `text` as the user left it; None, after saying why, where there is no editor or it failed.

    The service goes on meanwhile: the app's loop waits, it does not block.
    """
    environ = getattr(app, "environ", os.environ)
    command = editor_command(environ)
    handle, name = tempfile.mkstemp(suffix=suffix, prefix="corral-")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        with lent_terminal(app):
            process = await asyncio.create_subprocess_exec(*command, name)
            status = await process.wait()
        if status:
            app.notify(f"{command[0]} ended with {status}; the text stays as it was", severity="error", markup=False)
            return None
        return path.read_text(encoding="utf-8", errors="replace").removesuffix("\n")
    except SuspendNotSupported:
        app.notify("there is no editor on this terminal", severity="error", markup=False)
    except OSError as error:
        app.notify(f"{command[0]}: {error.strerror}: set EDITOR", severity="error", markup=False)
    finally:
        path.unlink(missing_ok=True)
    return None
