"""How many threads compute: on a machine that is imagined, where each step's time follows from who else computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.threads import LATEST_NS, SAMPLE, SOONEST_NS, Threads

STEP_NS = 20_000_000


@dataclass
class Machine:
    """Threads without a processor of their own have the others wait for a time slice, spinning or asleep."""

    processors: int
    spins: bool = False
    neighbours: int = 0
    now_ns: int = 0
    counts: list[int] = field(default_factory=list)

    def idle(self) -> float:
        return max(0.0, float(self.processors - self.neighbours - self.counts[-1]))

    def step(self, threads: Threads, streams: int = 1, noise: float = 1.0) -> None:
        count = threads.count
        crowded = count + self.neighbours > self.processors
        elapsed = STEP_NS * noise / count * (3 if crowded else 1)
        share = (0.7 if self.spins else 0.5) * count if crowded else 0.97 * count
        self.now_ns += int(elapsed)
        self.counts.append(count)
        threads.observe(streams, int(elapsed), int(elapsed * share), self.now_ns)

    def steps(self, threads: Threads, count: int, streams: Iterable[int] = (1,)) -> list[int]:
        each = list(streams)
        for step in range(count):
            self.step(threads, each[step % len(each)])
        return self.counts[-count:]


@pytest.mark.parametrize("processors", [2, 8])
def test_all_threads_compute_where_nobody_else_does(processors: int) -> None:
    machine = Machine(processors)
    assert set(machine.steps(Threads(processors, machine.idle), 500)) == {processors}


@pytest.mark.parametrize("spins", [True, False])
@pytest.mark.parametrize(("processors", "neighbours"), [(2, 1), (8, 1), (8, 3), (8, 4)])
def test_who_shares_a_processor_with_others_leaves_it_to_them(processors: int, neighbours: int, spins: bool) -> None:
    machine = Machine(processors, spins, neighbours)
    threads = Threads(processors, machine.idle)
    while machine.now_ns < 8_000_000_000:
        machine.step(threads)
    assert machine.steps(threads, 500).count(processors - neighbours) > 450


def test_many_threads_that_get_half_of_their_processors_do_more_than_one_that_gets_all() -> None:
    machine = Machine(8, neighbours=7)
    assert machine.steps(Threads(8, machine.idle), 1000).count(8) > 800


def test_the_threads_are_back_once_the_others_have_gone() -> None:
    machine = Machine(4, neighbours=2)
    threads = Threads(4, machine.idle)
    machine.steps(threads, 100)
    machine.neighbours = 0
    began_ns = machine.now_ns
    while threads.count < 4 or threads._settled < 4:
        machine.step(threads)
    assert machine.now_ns - began_ns < 2_000_000_000


def test_processors_that_were_idle_in_a_pause_are_not_taken_for_free() -> None:
    machine = Machine(2, neighbours=1)
    paused = True

    def idle() -> float:
        nonlocal paused
        unused = 1.0 if paused else 0.0
        paused = False
        return unused

    threads = Threads(2, idle)
    machine.steps(threads, 100)
    for _ in range(3):
        machine.now_ns += 10_000_000_000
        paused = True
        assert set(machine.steps(threads, 100)) == {1}


def test_nothing_is_tried_again_and_again_in_vain() -> None:
    """Here fewer threads are never faster, though all of them wait for long."""
    machine = Machine(2)
    threads = Threads(2, machine.idle)
    tried = 0
    while machine.now_ns < 4 * LATEST_NS:
        count = threads.count
        elapsed = STEP_NS // count
        machine.now_ns += elapsed
        threads.observe(1, elapsed, elapsed // 2, machine.now_ns)
        tried += count == 1
    assert SAMPLE <= tried <= 9 * SAMPLE
    assert 9 * SAMPLE < 4 * LATEST_NS / SOONEST_NS


def test_steps_of_other_streams_are_not_compared() -> None:
    machine = Machine(2, neighbours=1)
    threads = Threads(2, machine.idle)
    assert set(machine.steps(threads, 300, streams=(1, 2))) == {2}


def test_a_thread_alone_is_left_alone() -> None:
    machine = Machine(1, neighbours=3)
    assert set(machine.steps(Threads(1, machine.idle), 100)) == {1}


@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10**9), st.integers(0, 10**10)), max_size=300),
    st.integers(0, 99),
)
def test_there_is_always_one_and_never_too_many(most: int, steps: list[tuple[int, int, int]], seed: int) -> None:
    chance = Random(seed)
    threads = Threads(most, lambda: chance.random() * 20)
    now_ns = 0
    for streams, elapsed_ns, processor_ns in steps:
        now_ns += elapsed_ns
        threads.observe(streams, elapsed_ns, processor_ns, now_ns)
        assert 1 <= threads.count <= most
