"""Looking at the machine goes on whatever a look meets."""

from __future__ import annotations

import asyncio

import pytest

from corral.runtime import watch
from corral.runtime.gauges import Gauges
from corral.runtime.snapshot import HostSample
from corral.runtime.watch import Watch
from tests.fakes.moment import HOST
from tests.unit.runtime.test_publish import Probe, Stage
from tests.waiting import until


class FailingProbe(Probe):
    """Fails until it is told not to."""

    fails = True
    asked = 0

    def host(self) -> HostSample:
        self.asked += 1
        if self.fails:
            raise OSError("the processors are away")
        return HOST


async def test_a_look_that_fails_is_told_once_and_the_next_ones_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SAMPLE_S", 0.01)
    monkeypatch.setattr(watch, "LEAST_PUBLISH_S", 0.0)
    stage, probe = Stage(), FailingProbe()
    gauges = Gauges(probe)
    looking = Watch(
        stage.publisher, gauges, stage.scheduler, stage.requests, stage.events, asyncio.get_running_loop().time
    )
    looking.start()
    await until(lambda: looking.latest() is not None and probe.asked > 3)
    before = looking.latest()
    await until(lambda: looking.latest() is not before)
    probe.fails = False
    await until(lambda: gauges.latest is not None)
    await looking.close()
    told = [event.text for event in stage.events.newest()]
    assert told == ["a look at what runs failed: OSError: the processors are away"]
