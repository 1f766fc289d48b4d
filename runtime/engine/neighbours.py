"""What the processors this process may run on do besides computing for it: nothing, or other programs' work.

Those it may not run on, as under `taskset`, in a container or a batch job with processors of its own, are none of its
concern: it can neither use them nor be kept waiting by who does.
"""

from __future__ import annotations

import os
import time
from typing import Any

import psutil

from corral.runtime.engine.process import processors


class IdleProcessors:
    """Of how many of its processors nobody made use, on average since it was asked last."""

    def __init__(self) -> None:
        self._asked_s = time.monotonic()
        self._idle_s = _idle_s()

    def __call__(self) -> float:
        """Return it; 0 the first time within a tick of the kernel's clock."""
        asked_s, idle_s = time.monotonic(), _idle_s()
        passed_s, unused_s = asked_s - self._asked_s, idle_s - self._idle_s
        self._asked_s, self._idle_s = asked_s, idle_s
        return unused_s / passed_s if passed_s else 0.0


class OtherPrograms:
    """Of how many of its processors other programs made use, on average since it was asked last."""

    def __init__(self) -> None:
        self._processors = processors()
        self._idle = IdleProcessors()
        self._asked_ns, self._own_ns = time.monotonic_ns(), time.process_time_ns()

    def __call__(self) -> float:
        """Return it; what a virtual machine's host took counts as theirs."""
        asked_ns, own_ns = time.monotonic_ns(), time.process_time_ns()
        passed_ns, used_ns = asked_ns - self._asked_ns, own_ns - self._own_ns
        self._asked_ns, self._own_ns = asked_ns, own_ns
        own = used_ns / passed_ns if passed_ns else 0.0
        return max(0.0, self._processors - self._idle() - own)


def _idle_s() -> float:
    return sum(float(times.idle + getattr(times, "iowait", 0.0)) for times in _own_times())


def _own_times() -> list[Any]:
    """What the processors did that this process may run on, one by one where it may not run on all."""
    if hasattr(os, "sched_getaffinity") and len(own := os.sched_getaffinity(0)) < (psutil.cpu_count() or 1):
        each = psutil.cpu_times(percpu=True)
        if max(own) < len(each):  # else some are off, and the list says not which
            return [each[number] for number in own]
    return [psutil.cpu_times()]
