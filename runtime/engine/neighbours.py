"""What the machine's processors do besides computing for this process: nothing, or other programs' work."""

from __future__ import annotations

import time

import psutil


class IdleProcessors:
    """Of how many of the machine's processors nobody made use, on average since it was asked last."""

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
    """Of how many of the machine's processors other programs made use, on average since it was asked last."""

    def __init__(self) -> None:
        self._processors = psutil.cpu_count() or 1
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
    times = psutil.cpu_times()
    return float(times.idle + getattr(times, "iowait", 0.0))
