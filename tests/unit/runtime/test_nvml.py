"""NVIDIA's cards as their library tells of them: one that says all, one in parts, one that shares the main memory."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from corral.runtime.nvml import Nvml
from corral.runtime.snapshot import GpuSample

GIB = 1 << 30
FULL: dict[str, Any] = {
    "MemoryInfo": SimpleNamespace(used=3 * GIB, total=80 * GIB),
    "UtilizationRates": SimpleNamespace(gpu=71),
    "Name": "NVIDIA H100",
    "PowerUsage": 412_000,
    "EnforcedPowerLimit": 700_000,
    "Temperature": 61,
    "ClockInfo": 1755,
    "CurrentClocksThrottleReasons": 0x04,
    "MigMode": [0, 0],
    "ComputeRunningProcesses": [SimpleNamespace(pid=7, usedGpuMemory=GIB)],
}
PARTS = [
    {"MemoryInfo": SimpleNamespace(used=GIB, total=10 * GIB), "Name": "NVIDIA H100 MIG 1g.10gb"},
    {
        "MemoryInfo": SimpleNamespace(used=2 * GIB, total=20 * GIB),
        "Name": b"NVIDIA H100 MIG 2g.20gb",
        "ComputeRunningProcesses": [
            SimpleNamespace(pid=7, usedGpuMemory=2 * GIB),
            SimpleNamespace(pid=8, usedGpuMemory=None),
        ],
    },
]
PARTED = {key: FULL[key] for key in ("PowerUsage", "Temperature")} | {"MigMode": [1, 1], "parts": [*PARTS, None]}
SHARED = {"Name": "NVIDIA GB10", "UtilizationRates": SimpleNamespace(gpu=5)}
EMPTY = {"Name": "NVIDIA A100", "MigMode": [1, 1], "parts": [None]}


class Library(ModuleType):
    """Knows of each card what stands in its table, and refuses the rest as a driver does."""

    NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0

    class NVMLError(Exception):
        pass

    def __init__(self, *cards: dict[str, Any]) -> None:
        super().__init__("pynvml")
        self.cards = cards

    def nvmlInit(self) -> None:
        if not self.cards:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> dict[str, Any]:
        return self.cards[number]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: dict[str, Any]) -> int:
        return len(card["parts"])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: dict[str, Any], number: int) -> dict[str, Any]:
        if (part := card["parts"][number]) is None:
            raise self.NVMLError("Not Found")
        found: dict[str, Any] = part
        return found

    def __getattr__(self, name: str) -> Any:
        what = name.removeprefix("nvmlDeviceGet")

        def answer(card: dict[str, Any], *_: Any) -> Any:
            if what not in card:
                raise self.NVMLError("Not Supported")
            return card[what]

        return answer


def nvml(monkeypatch: pytest.MonkeyPatch, *cards: dict[str, Any]) -> Nvml:
    monkeypatch.setitem(sys.modules, "pynvml", Library(*cards))
    return Nvml()


def test_a_card_with_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = nvml(monkeypatch, FULL).gpus()
    figures = (0, "NVIDIA H100", 3 * GIB, 80 * GIB, 71.0, 61.0, 412.0, 700.0, 1755.0, "power limit")
    assert found == GpuSample(*figures)


def test_a_card_in_parts_is_as_many_gpus_with_a_memory_each(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml(monkeypatch, PARTED, FULL)
    first, second, whole = library.gpus()
    assert [one.name for one in (first, second)] == ["NVIDIA H100 MIG 1g.10gb", "NVIDIA H100 MIG 2g.20gb"]
    assert [(one.memory_used, one.memory_total) for one in (first, second)] == [(GIB, 10 * GIB), (2 * GIB, 20 * GIB)]
    assert {(one.load_percent, one.temperature_c, one.power_w) for one in (first, second)} == {(None, 61.0, 412.0)}
    assert (whole.index, whole.name) == (2, "NVIDIA H100")
    assert library.process_memory() == {7: 3 * GIB}


@pytest.mark.parametrize(("card", "load"), [(SHARED, 5.0), (EMPTY, None)], ids=["shared memory", "no parts yet"])
def test_what_a_driver_refuses_is_unknown(monkeypatch: pytest.MonkeyPatch, card: dict[str, Any], load: object) -> None:
    (found,) = nvml(monkeypatch, card).gpus()
    assert found == GpuSample(0, card["Name"], None, None, load, None, None, None, None)  # type: ignore[arg-type]


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml(monkeypatch)
    assert (library.gpus(), library.missing) == ((), "NVMLError: Driver Not Loaded")
