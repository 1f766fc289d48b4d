"""Cards as their drivers tell of them; AMD's from a made-up sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.runtime.amd import AmdCards
from corral.runtime.gauges import SystemProbe
from corral.runtime.nvml import throttle_words
from corral.runtime.snapshot import GpuSample


def card(sysfs: Path, name: str, **files: str) -> Path:
    device = sysfs / "class" / "drm" / name / "device"
    (device / "hwmon" / "hwmon3").mkdir(parents=True)
    for file, text in files.items():
        folder = device / "hwmon" / "hwmon3" if "1_" in file else device
        (folder / file).write_text(f"{text}\n")
    return device


def test_an_amd_card_with_all_figures(tmp_path: Path) -> None:
    card(
        tmp_path,
        "card1",
        vendor="0x1002",
        product_name="Radeon RX 7900 XTX",
        gpu_busy_percent="87",
        mem_info_vram_used="1000000",
        mem_info_vram_total="25753026560",
        temp1_input="61000",
        power1_average="301000000",
        power1_cap="339000000",
        freq1_input="2482000000",
    )
    assert AmdCards(tmp_path).gpus() == (
        GpuSample(0, "Radeon RX 7900 XTX", 1_000_000, 25_753_026_560, 87.0, 61.0, 301.0, 339.0, 2482.0),
    )


def test_what_a_card_does_not_say_is_unknown_and_not_nothing(tmp_path: Path) -> None:
    card(tmp_path, "card0", vendor="0x1002", device="0x744c", gpu_busy_percent="", power1_input="9000000")
    assert AmdCards(tmp_path).gpus() == (GpuSample(0, "AMD 0x744c", None, None, None, None, 9.0, None),)


def test_other_vendors_and_connectors_are_no_amd_cards(tmp_path: Path) -> None:
    card(tmp_path, "card0", vendor="0x10de")
    card(tmp_path, "card1-DP-1", vendor="0x1002")
    for number in (10, 2):
        card(tmp_path, f"card{number}", vendor="0x1002", product_name=f"number {number}")
    assert [gpu.name for gpu in AmdCards(tmp_path).gpus()] == ["number 2", "number 10"]
    assert AmdCards(tmp_path / "none").gpus() == ()


def test_cards_of_all_vendors_are_numbered_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path, "card0", vendor="0x1002", product_name="second")
    monkeypatch.setattr("corral.runtime.gauges.AmdCards", lambda: AmdCards(tmp_path))
    first = GpuSample(0, "first", None, None, None, None, None, None)
    monkeypatch.setattr("corral.runtime.nvml.Nvml.gpus", lambda self: (first,))
    assert [(gpu.index, gpu.name) for gpu in SystemProbe(tmp_path).host().gpus] == [(0, "first"), (1, "second")]


@pytest.mark.parametrize(
    ("reasons", "words"),
    [(0, ""), (0x01, ""), (0x04, "power limit"), (0x44, "too hot, power limit"), (0x80, "power supply")],
)
def test_throttling_is_said_in_words(reasons: int, words: str) -> None:
    assert throttle_words(reasons) == words
