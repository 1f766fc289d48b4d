"""AMD's cards, as the kernel's driver tells of them in sysfs: no library is needed."""

from __future__ import annotations

from pathlib import Path

from corral.runtime.snapshot import GpuSample

SYSFS = Path("/sys")
_AMD = "0x1002"
_MICRO = 1_000_000
_MILLI = 1000


class AmdCards:
    """The cards under `class/drm` whose vendor is AMD. Found once: a card does not come or go while we run."""

    def __init__(self, sysfs: Path = SYSFS) -> None:
        # Connectors are listed beside the cards, as card0-DP-1.
        cards = (path for path in sysfs.glob("class/drm/card*") if path.name.removeprefix("card").isdigit())
        ordered = sorted(cards, key=lambda path: int(path.name.removeprefix("card")))
        self._devices = [path / "device" for path in ordered if _text(path / "device" / "vendor") == _AMD]

    def gpus(self) -> tuple[GpuSample, ...]:
        """Sample every card."""
        return tuple(_sample(index, device) for index, device in enumerate(self._devices))


def _sample(index: int, device: Path) -> GpuSample:
    sensors = next(iter(sorted(device.glob("hwmon/hwmon*"))), device)
    power = _first(sensors / "power1_average", sensors / "power1_input")
    limit = _number(sensors / "power1_cap")
    temperature = _number(sensors / "temp1_input")
    clock = _number(sensors / "freq1_input")
    return GpuSample(
        index=index,
        name=_text(device / "product_name") or f"AMD {_text(device / 'device') or 'GPU'}",
        memory_used=_number(device / "mem_info_vram_used"),
        memory_total=_number(device / "mem_info_vram_total"),
        load_percent=_number(device / "gpu_busy_percent"),
        temperature_c=None if temperature is None else temperature / _MILLI,
        power_w=None if power is None else power / _MICRO,
        power_limit_w=None if limit is None else limit / _MICRO,
        clock_mhz=None if clock is None else clock / _MICRO,
    )


def _first(*paths: Path) -> int | None:
    return next((number for path in paths if (number := _number(path)) is not None), None)


def _number(path: Path) -> int | None:
    """A figure; None where the card or its kernel does not give it, or it sleeps."""
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
