"""How long threads spin: by what others take of the processors; on Linux, libgomp listens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from corral.runtime.engine import neighbours
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


def looking_at(others: list[float], step_ns: int = LOOK_NS) -> Iterator[tuple[Spinning, Brevity]]:
    """Yield after each look; one step follows the other and each is long enough for one. The first look is taken."""
    brevity = Brevity()
    rest = iter([0.0, *others])
    spinning = Spinning(brevity, lambda: next(rest))
    spinning.observe(10**12, 10**12)
    for step in range(len(others)):
        spinning.observe(10**12 + step * step_ns, 10**12 + (step + 1) * step_ns)
        yield spinning, brevity


def test_threads_spin_briefly_while_others_have_their_processors() -> None:
    crowd = [0.0, CROWDED, 1.0, QUIET, CROWDED - 0.01, QUIET - 0.01, CROWDED - 0.01, 2.0]
    states = [spinning.brief for spinning, _ in looking_at(crowd)]
    assert states == [False, True, True, True, True, False, False, True]


def test_libgomp_is_told_of_changes_only() -> None:
    *_, (_, brevity) = looking_at([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    assert brevity.held == [True, False, True]


def test_steps_that_take_long_are_no_pause() -> None:
    states = [spinning.brief for spinning, _ in looking_at([2.0, 2.0, 0.0], step_ns=20 * LOOK_NS)]
    assert states == [True, True, False]


def test_what_others_did_during_a_pause_counts_for_nothing() -> None:
    used = iter([0.0, 2.0, 0.0, 1.0, 0.0, 0.0])
    spinning = Spinning(Brevity(), lambda: next(used))
    states = []
    for began in (100, 200, 201, 202, 300, 301):  # after 100, 200 and 300 comes a pause
        spinning.observe(began * LOOK_NS, (began + 1) * LOOK_NS)
        states.append(spinning.brief)
    assert states == [False, False, False, True, True, False]


def test_many_short_steps_are_one_look() -> None:
    looks = 0

    def others() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    spinning = Spinning(Brevity(), others)
    for step in range(100):
        spinning.observe(LOOK_NS + step * LOOK_NS // 50, LOOK_NS + (step + 1) * LOOK_NS // 50)
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


def test_processors_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a batch job that got processors 2 and 3 of four, all busy but one of its own."""
    now_s = 0.0
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {2, 3}, raising=False)
    monkeypatch.setattr(
        neighbours,
        "time",
        SimpleNamespace(monotonic=lambda: now_s, monotonic_ns=lambda: int(now_s * 1e9), process_time_ns=lambda: 0),
    )
    monkeypatch.setattr(
        neighbours,
        "psutil",
        SimpleNamespace(
            cpu_count=lambda: 4,
            cpu_times=lambda percpu: [SimpleNamespace(idle=idle * now_s) for idle in (0.0, 0.0, 0.0, 1.0)],
        ),
    )
    others, idle = OtherPrograms(), IdleProcessors()
    now_s = 1.0
    assert (others(), idle()) == (1.0, 1.0)


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
