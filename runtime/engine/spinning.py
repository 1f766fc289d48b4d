"""How long llama.cpp's threads spin when they wait for each other: long while the processors are theirs, else hardly.

They wait at some hundred barriers a token, most of them a few microseconds apart. To sleep and be woken at each makes
one stream a tenth slower; but a thread that spins for one whose processor somebody else has keeps that one waiting: two
busy threads beside one busy program say 2 tokens a second, where two that sleep say 40. libgomp spins 300,000 times by
itself, and a hundred times while it has more threads than there are processors (`do_spin` in its wait.h, counted in
`gomp_team_start` and `gomp_free_thread`). It reads its environment only once; one thread too many tells it later.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from corral.runtime.engine.neighbours import OtherPrograms
from corral.runtime.engine.process import processors

LOOK_NS: Final = 250_000_000
"""The kernel tells what processors did in hundredths of a second; over this time it is known well enough."""

CROWDED: Final = 0.5
"""Of how many processors others make use where threads should not spin for each other."""

QUIET: Final = 0.35
"""Of how many they do where threads may spin again."""

_VARIABLES: Final = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_MAPS: Final = Path("/proc/self/maps")


class Brevity(Protocol):
    """What has threads spin only briefly, while it is held."""

    def hold(self) -> None:
        """Have them spin briefly."""

    def release(self) -> None:
        """Let them spin for long."""


class Spinning:
    """Chooses how long threads spin by what other programs take of the processors; belongs to the loop's thread."""

    def __init__(self, brevity: Brevity, others: Callable[[], float]) -> None:
        """`others` gives of how many processors other programs made use since it was asked last."""
        self.brief = False
        self._brevity = brevity
        self._others = others
        self._next_ns = 0

    def observe(self, now_ns: int) -> None:
        """Look around after a step, where it is time to."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + LOOK_NS
        others = self._others()
        if others >= CROWDED and not self.brief:
            self.brief = True
            self._brevity.hold()
        elif others < QUIET and self.brief:
            self.brief = False
            self._brevity.release()


class ThreadTooMany:
    """Has libgomp count one thread more than there are processors, while it is held.

    A thread that has run something in parallel keeps the threads it did it with until it ends.
    """

    def __init__(self, openmp: Any) -> None:
        self._openmp = openmp
        self._nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        self._over: threading.Event | None = None

    def hold(self) -> None:
        """Start it; returns once libgomp knows."""
        over, known = threading.Event(), threading.Event()
        threading.Thread(target=self._stay, args=(known, over), name="spin-briefly", daemon=True).start()
        known.wait()
        self._over = over

    def release(self) -> None:
        """Let it end."""
        if self._over is not None:
            self._over.set()
            self._over = None

    def _stay(self, known: threading.Event, over: threading.Event) -> None:
        self._openmp.GOMP_parallel(self._nothing, None, 2, 0)  # free(NULL), which does nothing, in two threads
        known.set()
        over.wait()


def spinning_of(threads: int) -> Spinning | None:
    """Return what tells so many threads how long to spin.

    None where they leave a processor to others, where the user has said how long, and where nobody would listen.
    """
    if threads < max(2, processors()) or any(name in os.environ for name in _VARIABLES):
        return None
    openmp = _loaded_openmp()
    return None if openmp is None else Spinning(ThreadTooMany(openmp), OtherPrograms())


def _loaded_openmp() -> Any:
    """Return the libgomp that this process computes with; None where it has none, and elsewhere than on Linux."""
    if sys.platform != "linux":
        return None
    for line in _MAPS.read_text(errors="surrogateescape").splitlines():
        path = line.partition("/")[2]
        if path.rpartition("/")[2].startswith("libgomp"):
            return ctypes.CDLL("/" + path, mode=os.RTLD_NOLOAD)
    return None
