"""NVIDIA's cards, as its management library tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.runtime.snapshot import GpuSample

_REASONS = (
    (0x20 | 0x40, "too hot"),
    (0x04, "power limit"),
    (0x80, "power supply"),
    (0x08, "hardware"),
)
"""Bits of `nvmlClocksEventReasons` in words; those of an idle card, or of a choice somebody made, hold nothing back."""


def throttle_words(reasons: int) -> str:
    """Say what holds a card's clock back; "" where nothing does."""
    return ", ".join(words for bits, words in _REASONS if reasons & bits)


class Nvml:
    """NVIDIA's management library, where there is one."""

    def __init__(self) -> None:
        self._handles: list[tuple[Any, Any]] = []
        """What is shown as a GPU, and the card it is on: itself, or the one it is a part of."""
        try:
            import pynvml

            self._lib: Any = pynvml
            pynvml.nvmlInit()
            cards = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self._handles = [pair for card in cards for pair in self._parts(card) or [(card, card)]]
        except Exception as error:  # a missing library, driver or permission all mean: no GPU to show
            self.missing = f"{type(error).__name__}: {error}"

    def gpus(self) -> tuple[GpuSample, ...]:
        """Sample every card."""
        return tuple(self._sample(index, *pair) for index, pair in enumerate(self._handles))

    def _parts(self, card: Any) -> list[tuple[Any, Any]]:
        """The instances that a card is parted into (MIG): programs run on these, and each has a memory of its own."""
        lib = self._lib
        mode = self._ask(lib.nvmlDeviceGetMigMode, card)
        most = self._ask(lib.nvmlDeviceGetMaxMigDeviceCount, card) if mode and mode[0] else 0
        parts = [self._ask(lib.nvmlDeviceGetMigDeviceHandleByIndex, card, number) for number in range(most or 0)]
        return [(part, card) for part in parts if part is not None]

    def _sample(self, index: int, handle: Any, card: Any) -> GpuSample:
        lib = self._lib
        memory = self._ask(lib.nvmlDeviceGetMemoryInfo, handle)
        load = self._ask(lib.nvmlDeviceGetUtilizationRates, handle)
        name = self._ask(lib.nvmlDeviceGetName, handle)
        power = self._ask(lib.nvmlDeviceGetPowerUsage, card)
        limit = self._ask(lib.nvmlDeviceGetEnforcedPowerLimit, card)
        temperature = self._ask(lib.nvmlDeviceGetTemperature, card, lib.NVML_TEMPERATURE_GPU)
        clock = self._ask(lib.nvmlDeviceGetClockInfo, card, lib.NVML_CLOCK_SM)
        reasons = self._ask(lib.nvmlDeviceGetCurrentClocksThrottleReasons, card)
        return GpuSample(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name or f"GPU {index}"),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            load_percent=None if load is None else float(load.gpu),
            temperature_c=None if temperature is None else float(temperature),
            power_w=None if power is None else power / 1000,
            power_limit_w=None if limit is None else limit / 1000,
            clock_mhz=None if clock is None else float(clock),
            throttled=throttle_words(reasons or 0),
        )

    def process_memory(self) -> Mapping[int, int]:
        """Bytes on all GPUs by process id; the driver does not tell inside every container."""
        taken: dict[int, int] = {}
        for handle, _ in self._handles:
            for process in self._ask(self._lib.nvmlDeviceGetComputeRunningProcesses, handle) or ():
                if process.usedGpuMemory is not None:
                    taken[process.pid] = taken.get(process.pid, 0) + int(process.usedGpuMemory)
        return taken

    def _ask(self, function: Any, *args: Any) -> Any:
        """One figure, or None: the driver refuses some on some cards, and may be lost while we run."""
        try:
            return function(*args)
        except (self._lib.NVMLError, AttributeError):
            return None
