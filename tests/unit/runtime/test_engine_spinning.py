"""How long threads spin: by what others take of the processors; on Linux, libgomp listens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from corral.runtime.engine.neighbours import IdleProcessors, OtherPrograms
from corral.runtime.engine.spinning import CROWDED, LOOK_NS, QUIET, Spinning, spinning_of

_COUNTS_THREADS = """
import ctypes, time
from pathlib import Path
from corral.runtime.engine import spinning

openmp = ctypes.CDLL("libgomp.so.1")
found = spinning._loaded_openmp()
assert found is not None and found._handle == openmp._handle, found

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

before = threads()
one_more = spinning.ThreadTooMany(found)
for _ in range(3):
    one_more.hold()
    held = threads()
    one_more.release()
    deadline = time.monotonic() + 10
    while threads() != before and time.monotonic() < deadline:
        time.sleep(0.001)
    print(held - before, threads() - before)
one_more.release()
"""


class Brevity:
    def __init__(self) -> None:
        self.held: list[bool] = []

    def hold(self) -> None:
        self.held.append(True)

    def release(self) -> None:
        self.held.append(False)


def looking_at(others: list[float]) -> Iterator[tuple[Spinning, Brevity]]:
    """Yield after each look; the steps lie so far apart that each is one."""
    brevity = Brevity()
    rest = iter(others)
    spinning = Spinning(brevity, lambda: next(rest))
    for look in range(1, len(others) + 1):
        spinning.observe(look * LOOK_NS)
        yield spinning, brevity


def test_threads_spin_briefly_while_others_have_their_processors() -> None:
    crowd = [0.0, CROWDED, 1.0, QUIET, CROWDED - 0.01, QUIET - 0.01, CROWDED - 0.01, 2.0]
    states = [spinning.brief for spinning, _ in looking_at(crowd)]
    assert states == [False, True, True, True, True, False, False, True]


def test_libgomp_is_told_of_changes_only() -> None:
    *_, (_, brevity) = looking_at([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    assert brevity.held == [True, False, True]


def test_many_short_steps_are_one_look() -> None:
    looks = 0

    def others() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    spinning = Spinning(Brevity(), others)
    for step in range(100):
        spinning.observe(LOOK_NS + step * LOOK_NS // 50)
    assert looks == 2


def test_other_programs_are_seen_and_this_one_is_not() -> None:
    others, idle = OtherPrograms(), IdleProcessors()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        deadline = time.monotonic() + 20
        seen = 0.0
        others()
        while seen < 0.3 and time.monotonic() < deadline:
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
            seen = others()
    finally:
        busy.kill()
        busy.wait()
    assert seen >= 0.3
    assert idle() >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is looked for where Linux lists it")
def test_a_thread_too_many_comes_and_goes() -> None:
    """Two threads: the one that asks, and the one libgomp starts for it."""
    found = subprocess.run(
        [sys.executable, "-c", _COUNTS_THREADS], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stdout.split("\n")[:-1] == ["2 0"] * 3, found.stderr


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_who_said_how_long_is_obeyed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert spinning_of(len(os.sched_getaffinity(0))) is None


def test_threads_that_leave_a_processor_to_others_may_spin() -> None:
    assert spinning_of(1) is None
