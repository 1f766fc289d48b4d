"""Ctrl-C during imports, which Python itself does not survive.

An interrupt inside importlib can be swallowed there with its lock held (CPython's module-lock callback); the next
import of another thread then waits for ever, and with it the program. So Ctrl-C waits until the imports are over.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator


@contextlib.contextmanager
def held_back() -> Generator[None, None, None]:
    """Raise the `KeyboardInterrupt` of a Ctrl-C that comes inside only at the end; for the main thread and imports."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
