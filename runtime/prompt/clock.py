"""A time limit for code from strangers."""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_GRACE_S: Final = 4.0


class TimeIsUp(BaseException):
    """Raised where the code stands when its time is up; no `except Exception` on the way can swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp inside the block after `seconds` of wall clock.

    By an alarm signal on the main thread where the platform has one, by another thread elsewhere. A call into C that
    never comes back to the interpreter cannot be broken either way: some seconds later the process ends itself.
    """
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    faulthandler.dump_traceback_later(seconds + _GRACE_S, exit=True)
    try:
        with _alarm(seconds) if alarm else _guard(seconds):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _guard(seconds: float) -> Iterator[None]:
    watched = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    done = False

    def ring() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(watched, ctypes.py_object(TimeIsUp))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            done = True
