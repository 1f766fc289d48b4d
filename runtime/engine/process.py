"""What the runner does to itself as a process: it dies with its parent, leaves no core file, knows its cores."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

SOFTWARE_ERROR: Final = 70
"""The exit status that says a bug ended the runner (sysexits.h)."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def run_or_end(run: Callable[[], None]) -> None:
    """Run a thread's work. Where that fails the process ends: whoever waits for the thread would wait for ever."""
    try:
        run()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(SOFTWARE_ERROR)


def harden() -> None:
    """Tie this process to its parent and take away what a child with strangers' data does not need.

    Elsewhere than on Linux only the end of stdin tells of the parent's death. PR_SET_PDEATHSIG follows the *thread*
    that started the child, so the parent must start runners from a thread that stays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal goes to the whole foreground group
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # a core of a model is gigabytes
    if sys.platform != "linux":
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # the parent went before the kernel was told


def default_threads() -> int:
    """Return how many threads decoding gets: physical cores, fewer where affinity or a container's quota says so."""
    limits = [psutil.cpu_count(logical=False) or psutil.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    quota = _quota_cores()
    if quota:
        limits.append(quota)
    return max(1, min(limits))


def decoding_threads(wanted: int) -> int:
    """Return how many threads to decode with where `wanted` are asked for, 0 for as many as are good.

    Never more than there are processors: llama.cpp's threads wait for each other after every step, and with more of
    them than can run at a time one careless request would take all who share the model down to a token in seconds.
    """
    return min(wanted, processors()) if wanted > 0 else default_threads()


def processors() -> int:
    """Return how many logical processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1


def _quota_cores() -> int:
    """Return the whole cores a cgroup allows, 0 where it sets no limit."""
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):
        return 0
    return 0 if quota == "max" else max(1, round(int(quota) / int(period)))
