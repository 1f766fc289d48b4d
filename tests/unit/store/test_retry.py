from __future__ import annotations

import pytest

from corral.store.errors import SourceError
from corral.store.retry import Again, Attempts, Patience, RateLimit, retry_after_s


def test_waits_grow_up_to_a_bound_and_end() -> None:
    attempts = Attempts(Patience(tries=5, first_s=1.0, longest_s=3.0))
    waits = [attempts.wait_s(Again("broken")) for _ in range(4)]
    for wait, longest in zip(waits, (1, 2, 3, 3), strict=True):
        assert longest / 2 <= wait <= longest
    with pytest.raises(SourceError, match="broken"):
        attempts.wait_s(Again("broken"))


def test_what_brings_something_is_counted_anew() -> None:
    attempts = Attempts(Patience(tries=2))
    for _ in range(9):
        attempts.wait_s(Again("broken"))
        attempts.succeeded()


def test_who_asks_for_time_gets_it_within_reason() -> None:
    attempts = Attempts(Patience(longest_asked_s=60))
    assert attempts.wait_s(Again("busy", after_s=7)) == 7
    with pytest.raises(SourceError, match="come back in 3600 seconds"):
        attempts.wait_s(Again("busy", after_s=3600))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, now=100.0) == seconds


def test_a_rate_holds_for_all_together() -> None:
    now = 10.0
    limit = RateLimit(100, clock=lambda: now)
    assert [limit.delay_s(50), limit.delay_s(50), limit.delay_s(100)] == [0.5, 1.0, 2.0]
    now = 20.0
    assert limit.delay_s(100) == 1.0  # time that nobody used is not saved up
    assert RateLimit(0).delay_s(1 << 40) == 0
