"""Counts of weights as Ollama spells them."""

from __future__ import annotations

import pytest

from corral.store.counts import human_count


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (12, "12"),
        (999, "999"),
        (1_234, "1K"),
        (1_500, "2K"),
        (512_000, "512K"),
        (137_000_000, "137M"),
        (134_515_008, "134.52M"),
        (494_030_000, "494.03M"),
        (7_000_000_000, "7B"),
        (8_030_261_248, "8.0B"),
        (70_600_000_000, "70.6B"),
    ],
)
def test_counts_are_spelled_as_ollama_does(count: int, shown: str) -> None:
    assert human_count(count) == shown
