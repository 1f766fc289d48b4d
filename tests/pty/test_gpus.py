"""The workbench on a machine with GPUs of several kinds: the real program on a library that makes them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import CORRAL, environment, free_port
from tests.terminal import Terminal

LIBRARY = """
class NVMLError(Exception): pass
class Of:
    def __init__(self, **figures): self.__dict__ |= figures
NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0
GIB = 1 << 30
PART = {"Name": "H100 MIG 1g.10gb", "MemoryInfo": Of(used=GIB, total=10 * GIB)}
CARDS = [
    {"Name": "H100", "MemoryInfo": Of(used=3 * GIB, total=80 * GIB), "UtilizationRates": Of(gpu=71),
     "PowerUsage": 412000, "EnforcedPowerLimit": 700000, "Temperature": 61},
    {"MigMode": [1, 1], "parts": [PART], "Temperature": 55},
    {"Name": "GB10"},
]
def nvmlInit(): pass
def nvmlDeviceGetCount(): return len(CARDS)
def nvmlDeviceGetHandleByIndex(number): return CARDS[number]
def nvmlDeviceGetMaxMigDeviceCount(card): return len(card["parts"])
def nvmlDeviceGetMigDeviceHandleByIndex(card, number): return card["parts"][number]
def __getattr__(name):
    what = name.removeprefix("nvmlDeviceGet")
    def answer(card, *_):
        if what not in card: raise NVMLError("Not Supported")
        return card[what]
    return answer
"""
F4 = "\x1bOS"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["120x36", "80x24"])
def test_each_gpu_is_shown_with_what_is_known_of_it(size: tuple[int, int], own_store: Path, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(LIBRARY)
    environ = environment(own_store, free_port(), tmp_path)
    environ["PYTHONPATH"] = f"{tmp_path}:{environ.get('PYTHONPATH', '')}"
    with Terminal([CORRAL], environ, columns=size[0], lines=size[1]) as terminal:
        terminal.wait_for("Prompt to")
        terminal.look(F4, "GPU 0 of 3 [] · H100 · 71 %", "61 °C · 412/700 W", "VRAM 4.3G of 96.6G")
        terminal.look("]", "GPU 1 of 3 [] · H100 MIG 1g.10gb", "55 °C · n/a W")
        terminal.look("]", "GPU 2 of 3 [] · GB10 · n/a", "n/a °C · n/a W")
        terminal.look("]", "GPU 0 of 3 []")
        terminal.look("[", "GPU 2 of 3 []")
        assert b"Traceback" not in terminal.raw
