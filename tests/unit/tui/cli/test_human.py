from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from corral.tui.cli.human import go_duration, human_bytes, human_duration, human_time

NOW = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (12, "12 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (397_000_000, "397 MB"),
        (4_700_000_000, "4.7 GB"),
        (4_000_000_000, "4 GB"),
        (19_300_000_000, "19 GB"),
        (98_362_432, "98 MB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_bytes_are_decimal(num_bytes: int, text: str) -> None:
    assert human_bytes(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_moments() -> None:
    assert human_time(NOW - timedelta(days=3), NOW) == "3 days ago"
    assert human_time(NOW + timedelta(minutes=4, seconds=30), NOW) == "4 minutes from now"
    assert human_time(NOW + timedelta(days=365 * 40), NOW) == "Forever"
    assert human_time(NOW + timedelta(days=365 * 19), NOW) == "19 years from now"
    assert human_time(None, NOW) == "Never"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (5, "5ns"),
        (1_500, "1.5µs"),
        (820_500_000, "820.5ms"),
        (2_000_000_000, "2s"),
        (63_250_000_000, "1m3.25s"),
        (3_723_000_000_000, "1h2m3s"),
    ],
)
def test_durations_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text
