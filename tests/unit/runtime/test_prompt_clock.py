"""How long code from strangers may compute, however little of a processor it gets."""

from __future__ import annotations

import faulthandler
import signal
import time

import pytest

from corral.runtime.prompt.clock import TimeIsUp, time_limit

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="elsewhere it is the wall clock that counts")


def test_what_computes_for_too_long_is_ended() -> None:
    def compute() -> None:
        with time_limit(0.05):
            while True:
                pass

    began_s = time.thread_time()
    with pytest.raises(TimeIsUp):
        compute()
    assert 0.05 <= time.thread_time() - began_s < 0.5


def test_time_that_others_have_the_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    put_off: list[float] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda later_s, **_: put_off.append(later_s))
    with time_limit(0.05):
        time.sleep(0.15)
    assert len(put_off) > 1, "the process would have been ended"


def test_what_only_waits_is_ended_too() -> None:
    with pytest.raises(TimeIsUp), time_limit(0.01):
        time.sleep(600)
