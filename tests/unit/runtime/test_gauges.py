"""What the machine has, as it is sampled."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corral.runtime.gauges import SystemProbe


def test_the_disk_is_that_on_which_the_models_will_lie(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    here = SystemProbe(tmp_path).host()
    assert 0 < here.disk_free <= here.disk_total
    for folder in (tmp_path / "not" / "there", tmp_path / "file" / "below"):
        assert SystemProbe(folder).host().disk_total == here.disk_total


def test_what_this_process_takes_is_told_since_the_last_sample(tmp_path: Path) -> None:
    probe = SystemProbe(tmp_path)
    until_s = time.process_time() + 0.05
    while time.process_time() < until_s:
        pass
    busy = probe.host()
    assert busy.process_cpu_percent > 0
    assert busy.process_rss > 1_000_000


def test_processors_are_measured_since_the_last_sample_whichever_thread_asks(tmp_path: Path) -> None:
    probe = SystemProbe(tmp_path)
    assert probe.host().cpu_percent is None  # there is nothing yet that it could tell
    until_s = time.process_time() + 0.15
    while time.process_time() < until_s:
        pass
    with ThreadPoolExecutor(1) as another:
        host = another.submit(probe.host).result()
    assert host.cpu_percent is not None
    assert host.cpu_percent > 0
    assert max(host.cpu_per_core) <= 100
