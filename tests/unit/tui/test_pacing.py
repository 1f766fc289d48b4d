from __future__ import annotations

import time

from corral.tui.pacing import Pace

FULL = 8000


def test_a_terminal_that_never_answers_is_never_waited_for_and_not_asked_for_ever() -> None:
    pace = Pace()
    for second in range(20):
        assert pace.wait_s(float(second)) == 0
        if pace.should_ask:
            pace.sent(FULL, float(second))
    assert not pace.should_ask
    began_s = time.monotonic()
    pace.wait_for_answers(60, 0.05)
    assert time.monotonic() - began_s < 30


def test_a_frame_waits_until_the_one_before_has_arrived() -> None:
    pace = Pace()
    pace.sent(FULL, 0)
    pace.answered()
    assert pace.wait_s(0.1) == 0
    pace.sent(FULL, 0.1)
    assert pace.wait_s(0.2) > 0
    pace.answered()
    assert pace.wait_s(0.3) == 0


def test_small_frames_follow_each_other_without_waiting() -> None:
    pace = Pace()
    pace.answered()
    pace.sent(60, 0)
    assert pace.wait_s(0) == 0
    for _ in range(30):
        pace.sent(60, 0)
    assert pace.wait_s(0) > 0


def test_a_lost_answer_costs_a_wait_and_a_terminal_that_stands_still_ever_fewer_frames() -> None:
    pace = Pace()
    pace.answered()
    now_s, waits = 0.0, []
    for _ in range(3):
        pace.sent(FULL, now_s)
        waits.append(wait_s := pace.wait_s(now_s))
        now_s += wait_s
        assert pace.wait_s(now_s) == 0
    assert waits == sorted(set(waits))
    pace.sent(FULL, now_s)
    pace.answered()
    pace.sent(FULL, now_s)
    assert pace.wait_s(now_s) == waits[0]
