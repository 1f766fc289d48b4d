"""What the screens are told of a job in parts."""

from __future__ import annotations

from dataclasses import dataclass

from corral.runtime.transfers import Transfer, Transfers
from corral.store.progress import Progress

GIB = 1 << 30


@dataclass
class Clock:
    """Time that passes when told to."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def layer(letter: str, size: int, completed: int) -> Progress:
    return Progress(f"pulling {letter}", f"sha256:{letter * 64}", size, completed, 4 * GIB, 3)


def followed(clock: Clock, *steps: Progress) -> Transfer:
    with Transfers(clock).open("t1", "tiny", "pull") as transfer:
        for step in steps:
            clock.now_s += 1
            transfer.follow(step)
    return transfer


def test_the_whole_and_the_part_it_is_at_are_told() -> None:
    view = followed(Clock(), layer("a", GIB, GIB), layer("b", 2 * GIB, 0), layer("b", 2 * GIB, GIB)).view()
    assert (view.completed, view.total) == (2 * GIB, 4 * GIB)
    assert (view.part, view.parts, view.part_completed, view.part_total) == (2, 3, GIB, 2 * GIB)


def test_what_came_before_it_was_taken_up_again_is_no_speed() -> None:
    clock = Clock()
    transfer = followed(clock, layer("a", 2 * GIB, 0), layer("a", 2 * GIB, GIB))
    assert transfer.view().bytes_per_s == 0
    clock.now_s += 1
    transfer.follow(layer("a", 2 * GIB, GIB + 1_000))
    clock.now_s += 1
    transfer.follow(layer("a", 2 * GIB, GIB + 2_000))
    assert transfer.view().bytes_per_s == 2_000


def test_a_status_without_a_size_keeps_the_whole_and_is_no_part() -> None:
    view = followed(Clock(), layer("a", 4 * GIB, 4 * GIB), Progress("verifying sha256 digest")).view()
    assert (view.status, view.completed, view.total) == ("verifying sha256 digest", 4 * GIB, 4 * GIB)
    assert view.parts == 0


def test_what_is_made_of_the_parts_is_told_by_itself() -> None:
    made = Progress("merging 3 files", "sha256:" + "c" * 64, 8 * GIB, GIB)
    view = followed(Clock(), layer("a", 4 * GIB, 4 * GIB), made).view()
    assert (view.completed, view.total, view.parts) == (GIB, 8 * GIB, 0)


def test_a_part_that_two_layers_share_counts_once() -> None:
    view = followed(Clock(), layer("a", GIB, GIB), layer("a", GIB, GIB)).view()
    assert (view.completed, view.part) == (GIB, 1)


def test_the_kind_of_the_job_is_told() -> None:
    with Transfers(Clock()).open("t1", "tiny", "push") as transfer:
        assert transfer.view().kind == "push"
