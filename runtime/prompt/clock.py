"""A time limit for code from strangers."""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_GRACE_S: Final = 4.0
_OTHERS_TAKE: Final = 10
"""So many times as long it may last by the wall clock, where others have the processors."""
_SHORTEST_S: Final = 0.01


class TimeIsUp(BaseException):
    """Raised where the code stands when its time is up; no `except Exception` on the way can swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp inside the block after `seconds` that it computed.

    By an alarm signal on the main thread where the platform has one; elsewhere by another thread, and by the wall
    clock. A call into C that never comes back to the interpreter cannot be broken either way: some seconds later the
    process ends itself. It must not where a machine has so much to do that the block had no turn: that is why an alarm
    that comes too early puts this off too.
    """
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    try:
        with _alarm(seconds) if alarm else _guard(seconds):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    computed_s, latest_s = time.thread_time() + seconds, time.monotonic() + seconds * _OTHERS_TAKE

    def ring(_number: int, _frame: FrameType | None) -> None:
        left_s = min(computed_s - time.thread_time(), latest_s - time.monotonic())
        if left_s <= 0:
            raise TimeIsUp
        wait(left_s)

    def wait(left_s: float) -> None:
        faulthandler.dump_traceback_later(left_s + _GRACE_S, exit=True)
        signal.setitimer(signal.ITIMER_REAL, max(left_s, _SHORTEST_S))

    before = signal.signal(signal.SIGALRM, ring)
    wait(seconds)
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

    faulthandler.dump_traceback_later(seconds + _GRACE_S, exit=True)
    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            done = True
