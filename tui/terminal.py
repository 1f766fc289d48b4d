"""Terminals that come and go: running an app on one, and what happens when it is closed.

A terminal may vanish (SIGHUP, or writes that fail) or stop reading. Neither may touch the service, which has its own
thread: a vanished one ends the app and nothing else, a silent one only makes the app wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from textual.app import App

    from corral.tui.app import WorkbenchApp

__all__ = ["ExitReason", "drawn_elsewhere", "forget_terminal", "is_remote", "run_on_terminal", "run_workbench"]

R = TypeVar("R")

log = logging.getLogger("corral")

_NOT_DRAWN_S = 0.02
_LAST_ANSWERS_S = 2.0
"""How long a terminal that is left is waited for, so that its last answers are not typed into the shell."""
_FIRST_ANSWER_S = 0.3
"""The same for one that has never answered, which is one that will not."""
_PIECE_S = 0.05
_ESCAPE = "\x1b"
_TAKE_AGAIN = "\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?2004h\x1b[?7l"
"""The other screen, no cursor, and what is told of focus and pastes; as Textual's driver does when it starts."""


class ExitReason(StrEnum):
    """Why the workbench left the terminal."""

    QUIT = "quit"
    """The user left, or SIGTERM came; the caller stops serving."""
    DETACH = "detach"
    """The user gave the terminal back; the caller goes on serving without it."""
    HANGUP = "hangup"
    """The terminal went away; the caller goes on serving. Standard streams lead nowhere then."""


def is_remote(environ: Mapping[str, str]) -> bool:
    """Whether this terminal is at the far end of an SSH connection."""
    return bool(environ.get("SSH_TTY") or environ.get("SSH_CONNECTION"))


def drawn_elsewhere(environ: Mapping[str, str]) -> bool:
    """Whether Textual draws on something else than a terminal: the page of a browser."""
    return bool(environ.get("TEXTUAL_DRIVER"))


def run_workbench(app: WorkbenchApp, *, mouse: bool = True) -> ExitReason:
    """Run the workbench on this process's terminal until it is left. To be called on the main thread.

    Without `mouse` the terminal keeps it for its own selection.

    Raises:
        SystemExit: the app failed; what there is to say has been printed.
    """
    from corral.tui.parsed_styles import ParsedStyles

    app.composes_ahead = True
    app.stylesheet = ParsedStyles(variables=app.get_css_variables())
    app.has_mouse = mouse and app.preferences.mouse is not False
    reason = run_on_terminal(app, mouse=app.has_mouse)
    if app.return_code and reason is not ExitReason.HANGUP:
        raise SystemExit(app.return_code)
    return reason if reason is not None else ExitReason.QUIT


def run_on_terminal(app: App[R], *, mouse: bool = True) -> R | ExitReason | None:
    """Run an app and return its result, or `HANGUP` where its terminal went away, `QUIT` for SIGTERM."""

    is_gone = False
    loop: asyncio.AbstractEventLoop | None = None
    early: list[ExitReason] = []

    def leave(reason: ExitReason) -> None:
        nonlocal is_gone
        is_gone = is_gone or reason is ExitReason.HANGUP
        if loop is None:
            early.append(reason)
        else:
            loop.call_soon_threadsafe(exit_once_drawn, loop, reason)

    def exit_once_drawn(loop: asyncio.AbstractEventLoop, reason: ExitReason) -> None:
        # An app that is told to leave while it composes its first screen fails over the missing parts. Textual has
        # no public word for being past that: `is_running` is true before.
        if app._is_mounted and app.screen_stack and app.screen.is_mounted:
            app.exit(reason)  # type: ignore[arg-type]
        else:
            loop.call_later(_NOT_DRAWN_S, exit_once_drawn, loop, reason)

    async def main() -> R | ExitReason | None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        for reason in early:
            leave(reason)
        try:
            if os.name == "posix" and not drawn_elsewhere(os.environ):
                app.driver_class = _driver_class(partial(leave, ExitReason.HANGUP))
            return await app.run_async(mouse=mouse)
        finally:
            loop = None  # it is closed next: who is asked to leave from here on is leaving

    result: R | ExitReason | None = None
    failure: BaseException | None = None
    try:
        # Before there is a loop: an interrupt while it is made would leave `main` unawaited, and asyncio's own answer
        # to one would cancel an app that has composed half of its screen.
        with _signals(leave):
            result = asyncio.run(main())
    except Exception as error:
        if not is_gone:
            raise
        failure = error
    if is_gone and (result is None or app.return_code):
        # A screen that fails as it loses its terminal must not take the service along.
        log.warning("the screen failed as its terminal went away", exc_info=failure or app._exception)
        result = ExitReason.HANGUP
    if result is ExitReason.HANGUP:
        forget_terminal()
    return result


@contextmanager
def lent_terminal(app: App[Any]) -> Iterator[None]:
    """Leave the terminal to another program for a while. What is interrupted there meanwhile is that program alone.

    Raises:
        SuspendNotSupported: there is no terminal that could be left.
    """
    # A function, where ignoring would be handed down to that program.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        # Repaints would fill the driver's queue, which nobody empties while the app is suspended.
        with app.suspend(), app.batch_update():
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _signals(leave: Callable[[ExitReason], None]) -> Iterator[None]:
    """Turn signals into a clean exit, which restores the terminal; a second SIGTERM ends the process at once."""
    has_asked = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal has_asked
        if has_asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        has_asked = True
        leave(ExitReason.QUIT)

    def hang_up(number: int, frame: FrameType | None) -> None:
        leave(ExitReason.HANGUP)

    wanted: dict[int, Any] = {signal.SIGTERM: terminate, signal.SIGINT: terminate}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = hang_up
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _driver_class(on_lost: Callable[[], None]) -> type[Any]:
    """Textual's driver for Unix, which survives its terminal and never stops the process."""
    import select
    import termios

    from textual import events, messages
    from textual.drivers.linux_driver import LinuxDriver
    from textual.message import Message

    from corral.tui.answers import AnswerSieve
    from corral.tui.drawing import Drawing
    from corral.tui.key_parser import KeyParser

    class TerminalDriver(LinuxDriver):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.drawing = Drawing(self.write)
            self._file: Any = _LossyFile(self._file, on_lost)
            self._own_mode: list[Any] | None = None
            self._waking, self._wake = -1, -1
            self._will_tell_size = False
            loop = asyncio.get_running_loop()
            # Textual's handler would stop all threads, the one that serves too; and start a second of each that draws.
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
            signal.signal(signal.SIGCONT, lambda *_: loop.call_soon_threadsafe(self._continued))

        def run_input_thread(self) -> None:
            waking = self._waking
            try:
                self._read(waking)
            except OSError:
                self.drawing.pace.lost()
                on_lost()
            finally:
                os.close(waking)

        def _read(self, waking: int) -> None:
            sieve, parser = AnswerSieve(), KeyParser(self._debug)
            decode = getincrementaldecoder("utf-8")("replace").decode
            while not self.exit_event.is_set():
                # Nothing but a key wakes this thread: whoever computes would pause for it.
                patience_s = _PIECE_S if sieve.is_holding or parser.is_waiting else None
                ready = select.select([self.fileno, waking], [], [], patience_s)[0]
                if waking in ready:
                    return
                is_ready = self.fileno in ready
                data = os.read(self.fileno, 4096) if is_ready else b""
                if is_ready and not data:
                    self.exit_event.wait(_PIECE_S)  # its end: nothing more will come
                sieve.is_asked = self.drawing.pace.is_waiting
                text, answers = sieve.feed(decode(data), now_s := time.monotonic())
                for _ in range(answers):
                    self.drawing.answered()
                late = sieve.overdue(now_s)
                if late == _ESCAPE:
                    self.process_message(events.Key("escape", late))
                    late = ""
                for message in (*parser.feed(late + text), *parser.tick()) if late or text else parser.tick():
                    self.process_message(message)

        def start_application_mode(self) -> None:
            self.drawing.forget()
            self._waking, self._wake = os.pipe()
            super().start_application_mode()  # type: ignore[no-untyped-call]
            with contextlib.suppress(termios.error):
                self._own_mode = termios.tcgetattr(self.fileno)

        def disable_input(self) -> None:
            self.drawing.leave(_LAST_ANSWERS_S, _FIRST_ANSWER_S)
            if self._wake >= 0:
                os.close(self._wake)  # ends what reads the keys
                self._wake = -1
            super().disable_input()

        def _continued(self) -> None:
            """A shell that stopped this process had the terminal meanwhile, in its own mode."""
            if self._own_mode is None or self.drawing.is_over:
                return
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._own_mode)
            self.write(_TAKE_AGAIN)
            self._enable_mouse_support()
            self.drawing.repaint(clear=True)

        def _enable_in_band_window_resize(self) -> None:
            self._will_tell_size = True  # at once, by mode 2048, and then whenever it changes
            super()._enable_in_band_window_resize()

        def process_message(self, message: Message) -> None:
            if isinstance(message, events.Resize) and self._will_tell_size:
                self._will_tell_size = False
                self.drawing.size_known_s = max(self.drawing.size_known_s, message.time)
            if isinstance(message, messages.TerminalSupportsSynchronizedOutput):
                self.drawing.in_one_go = True
            super().process_message(message)

    return TerminalDriver


class _LossyFile:
    """A terminal's file that swallows everything once the terminal is gone, so that no writer waits for it."""

    def __init__(self, file: Any, on_lost: Callable[[], None]) -> None:
        self._file = file
        self._on_lost = on_lost
        self._is_lost = False

    def write(self, text: str) -> int:
        """Write, or pretend to."""
        self._attempt(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or pretend to."""
        self._attempt(self._file.flush)

    def _attempt(self, operation: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            operation()
        except OSError:
            self._is_lost = True
            self._on_lost()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def forget_terminal() -> None:
    """Let the standard streams lead nowhere: a print of the service must not fail on a terminal that is gone."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
