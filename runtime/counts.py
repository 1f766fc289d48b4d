"""Counts of parameters in Ollama's words (spec d.2)."""

from __future__ import annotations


def human_number(number: int) -> str:
    """A count of parameters: `7B`, `8.0B`, `137M`, `494.03M`, `512K`."""
    if number >= 1_000_000_000:
        value = number / 1_000_000_000
        return f"{value:.0f}B" if value == int(value) else f"{value:.1f}B"
    if number >= 1_000_000:
        value = number / 1_000_000
        return f"{value:.0f}M" if value == int(value) else f"{value:.2f}M"
    if number >= 1000:
        return f"{number / 1000:.0f}K"
    return str(number)
