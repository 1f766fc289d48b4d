"""Reads what a person types: one line, or several by Ctrl-J, a paste or an editor (spec d.4)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from corral.tui.cli.history import LinesHistory

PROMPT, CONTINUED = ">>> ", "... "
_GHOST, _GHOST_CONTINUED = "Send a message (/? for help)", "Press Enter to send"


class Interrupted(Exception):
    """Ctrl-C while typing; `empty` says that there was nothing to throw away."""

    def __init__(self, empty: bool) -> None:
        super().__init__()
        self.empty = empty


class LineInput:
    """A prompt with history. Belongs to the main thread."""

    def __init__(
        self,
        history_file: Path,
        *,
        history: bool,
        editor: str = "",
        source: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.history = LinesHistory(history_file, enabled=history)
        if editor:
            os.environ["VISUAL"] = editor  # where the prompt's own editor key looks first
        self._session: PromptSession[str] = PromptSession(
            history=self.history,
            key_bindings=_bindings(),
            enable_suspend=True,
            prompt_continuation=CONTINUED,
            input=source,
            output=output,
        )

    def read(self, *, continued: bool = False) -> str:
        """Wait for a line; `continued` says that it goes on with one before.

        Raises:
            Interrupted: Ctrl-C.
            EOFError: Ctrl-D on an empty line.
        """
        ghost = _GHOST_CONTINUED if continued else _GHOST
        return self._session.prompt(
            CONTINUED if continued else PROMPT, placeholder=HTML("<ansibrightblack>{}</ansibrightblack>").format(ghost)
        )


@contextlib.contextmanager
def keys_held(descriptor: int) -> Generator[None, None, None]:
    """Keep what is typed during an answer for the next prompt, unseen and unchanged; Ctrl-C ends the answer alone.

    Else the terminal would print it into the answer, and turn its Enter into a Ctrl-J.
    """
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    held = termios.tcgetattr(descriptor)
    held[0] &= ~termios.ICRNL
    held[3] = held[3] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    held[6][termios.VMIN], held[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSANOW, held)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def interrupt(event: KeyPressEvent) -> None:
        event.app.exit(exception=Interrupted(not event.current_buffer.text))

    @bindings.add("c-g")
    def edit(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    return bindings
