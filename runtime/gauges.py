"""What the machine has: processors, memory, disk, GPUs. Sampled once for all who look; keeps ten minutes.

A driver that is missing, or fails while we run, turns its figures into None and never reaches a request.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
from msgspec import structs

from corral.runtime.amd import AmdCards
from corral.runtime.nvml import Nvml
from corral.runtime.snapshot import GpuSample, HostSample

HISTORY_S = 600
_LEAST_S = 0.1
"""The shortest time over which processors are measured: the system counts in hundredths of a second."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What one runner's process takes: resident bytes, processor percent (100 a core), bytes on the GPUs."""

    rss: int
    cpu_percent: float
    vram: int | None


class HostProbe(Protocol):
    """Where samples come from; a fake one in tests."""

    def host(self) -> HostSample:
        """Sample the machine. Takes a few milliseconds: call it off the loop."""
        ...

    def process(self, pid: int) -> ProcessSample | None:
        """Sample one process; None where it is gone."""
        ...


class SystemProbe:
    """Samples by psutil and NVML. Used by one sampler thread at a time."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._self = psutil.Process()
        self._used = time.monotonic(), time.process_time()
        self._children: dict[int, psutil.Process] = {}
        self._nvml = Nvml()
        self._amd = AmdCards()
        self._cores = time.monotonic(), _core_times()

    def host(self) -> HostSample:
        """Sample the machine since the last call."""
        cores = self._core_percents()
        used, total = _memory()
        free, size = _disk(self._disk)
        return HostSample(
            cpu_percent=sum(cores) / len(cores) if cores else None,
            cpu_per_core=cores,
            load_average=os.getloadavg() if hasattr(os, "getloadavg") else None,
            memory_used=used,
            memory_total=total,
            disk_free=free,
            disk_total=size,
            process_rss=self._self.memory_info().rss,
            process_cpu_percent=self._own_cpu_percent(),
            gpus=self._gpus(),
        )

    def _core_percents(self) -> tuple[float, ...]:
        """How busy each processor was since it was last measured; none where that is too short a time to tell.

        psutil's own `cpu_percent` counts for each thread that asks, and one that has never asked is told 0.
        """
        (then_s, before), (now_s, now) = self._cores, (time.monotonic(), _core_times())
        if now_s - then_s < _LEAST_S:
            return ()
        self._cores = now_s, now
        if len(now) != len(before):  # some were taken away or added
            return ()
        spent = [(busy - then, whole - was) for (busy, whole), (then, was) in zip(now, before, strict=True)]
        return tuple(min(100 * max(busy, 0.0) / whole, 100.0) if whole > 0 else 0.0 for busy, whole in spent)

    def _own_cpu_percent(self) -> float:
        (then_s, used_then_s), self._used = self._used, (time.monotonic(), time.process_time())
        now_s, used_s = self._used
        return 100 * (used_s - used_then_s) / (now_s - then_s) if now_s > then_s else 0.0

    def _gpus(self) -> tuple[GpuSample, ...]:
        """All cards, numbered one after the other."""
        found = (*self._nvml.gpus(), *self._amd.gpus())
        return tuple(structs.replace(gpu, index=index) for index, gpu in enumerate(found))

    def process(self, pid: int) -> ProcessSample | None:
        """Sample one runner."""
        try:
            process = self._children.get(pid)
            if process is None:
                process = self._children[pid] = psutil.Process(pid)
                process.cpu_percent()
            rss = process.memory_info().rss
            return ProcessSample(rss, process.cpu_percent(), self._nvml.process_memory().get(pid))
        except psutil.Error:
            self._children.pop(pid, None)
            return None


def _core_times() -> list[tuple[float, float]]:
    """Seconds that each processor has computed, and all it has had; the system counts what guests had twice."""
    times = []
    for one in psutil.cpu_times(percpu=True):
        whole = sum(one) - getattr(one, "guest", 0.0) - getattr(one, "guest_nice", 0.0)
        times.append((whole - one.idle - getattr(one, "iowait", 0.0), whole))
    return times


def _memory() -> tuple[int, int]:
    """Used and total bytes; a container's own limit where that is smaller than the machine."""
    memory = psutil.virtual_memory()
    used, total = memory.total - memory.available, memory.total
    try:
        limit_text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit_text != "max" and int(limit_text) < total:
            return int(Path("/sys/fs/cgroup/memory.current").read_text()), int(limit_text)
    except (OSError, ValueError):
        pass  # no cgroup v2, or not ours to read: the machine's own figures hold
    return used, total


def available_memory() -> int:
    """Return how many bytes may be taken without pushing anybody out; what is cached of files counts as free."""
    available = psutil.virtual_memory().available
    try:
        group = Path("/sys/fs/cgroup")
        limit_text = (group / "memory.max").read_text().strip()
        if limit_text != "max":
            counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            cached = int(counts.get("inactive_file", 0)) + int(counts.get("active_file", 0))
            used = int((group / "memory.current").read_text()) - cached
            available = min(available, int(limit_text) - used)
    except (OSError, ValueError):
        pass  # no cgroup v2, or not ours to read: the machine's own figures hold
    return max(0, available)


def _disk(folder: Path) -> tuple[int, int]:
    """Free and total bytes where the models lie, or will lie."""
    for place in (folder, *folder.parents):
        try:
            usage = shutil.disk_usage(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
        return usage.free, usage.total
    return 0, 0


class Gauges:
    """The newest samples and their `history`, oldest first. Owned by the service loop; `sample` runs in a thread."""

    def __init__(self, probe: HostProbe) -> None:
        self._probe = probe
        self._history: deque[HostSample] = deque(maxlen=HISTORY_S)
        self._processes: dict[int, ProcessSample] = {}
        self.history: tuple[HostSample, ...] = ()

    def sample(self, pids: tuple[int, ...]) -> tuple[HostSample, dict[int, ProcessSample]]:
        """Take samples of the machine and of these processes; to be handed to `add` on the loop."""
        processes = {pid: found for pid in pids if (found := self._probe.process(pid)) is not None}
        return self._probe.host(), processes

    def add(self, host: HostSample, processes: dict[int, ProcessSample]) -> None:
        """Keep a sample; of those before it the per-core figures are dropped."""
        if self._history:
            self._history[-1] = structs.replace(self._history[-1], cpu_per_core=())
        self._history.append(host)
        self._processes = processes
        self.history = tuple(self._history)

    @property
    def latest(self) -> HostSample | None:
        """The newest sample of the machine."""
        return self._history[-1] if self._history else None

    def process(self, pid: int) -> ProcessSample | None:
        """The newest sample of a runner."""
        return self._processes.get(pid)
