"""Commands of the user's that a shell runs, in the terminal that the workbench leaves to them meanwhile.

`[commands] about = "!ollama show $MODEL | less"` in config.toml. What the workbench knows stands in the environment and
never in the text: whatever a model is called, a shell reads it as a name.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from corral.tui.screens.base import WorkbenchScreen
from corral.tui.terminal import lent_terminal

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["SHELL", "run_in_shell"]

SHELL = "!"
"""What a command of the user's begins with that is for a shell."""
_BY_SIGNAL = 128
_ENDED = 'printf "\\n%s ended with %s · Enter goes back " "$0" "$1"; read -r _'


async def run_in_shell(app: WorkbenchApp, name: str, command: str, words: Sequence[str]) -> str:
    """Run it and wait until the user has read what it says; returns what to tell. `words` are its `$1`, `$2`, ….

    The service goes on meanwhile: the app's loop waits, it does not block.
    """
    environ = _environment(app)
    try:
        with lent_terminal(app):
            status = await _run(command, name, *words, environ=environ)
            await _run(_ENDED, f":{name}", str(status), environ=environ)
    except SuspendNotSupported:
        return "there is no shell on this terminal"
    except OSError as error:
        return f"sh: {error.strerror}"
    return ""


async def _run(script: str, *words: str, environ: Mapping[str, str]) -> int:
    process = await asyncio.create_subprocess_exec("sh", "-c", script, *words, env=environ)
    status = await process.wait()
    return status if status >= 0 else _BY_SIGNAL - status


def _environment(app: WorkbenchApp) -> dict[str, str]:
    """What a command may want to know: the models that keys would act on, and the server that is shown."""
    screen = app.screen_stack[0]
    names = screen.models_meant if isinstance(screen, WorkbenchScreen) else ()
    server = app.link.place or app.link.latest().serving
    told = {"MODEL": names[0] if names else "", "MODELS": " ".join(names)}
    return {**os.environ, **told, **({"CORRAL_HOST": server, "OLLAMA_HOST": server} if server else {})}
